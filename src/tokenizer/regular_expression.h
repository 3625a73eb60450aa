// Regular expressions of tokenizer.json files, run by PCRE2. They are written for Oniguruma and mean here
// what they mean there (regex_translator.h). Each byte of a text that is not UTF-8 counts as U+FFFD.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat {

// Immutable; share it between threads.
class RegularExpression {
 public:
  // Throws format_invalid or format_unsupported naming the pattern and the place in it.
  explicit RegularExpression(std::string_view pattern);
  ~RegularExpression();
  RegularExpression(const RegularExpression&) = delete;
  RegularExpression& operator=(const RegularExpression&) = delete;

  const std::string& pattern() const { return pattern_; }

  // The first match that begins at `from` <= text.size() or after it. False: none. For one look at a text; a
  // RegexSearch is for many.
  bool find(std::string_view text, size_t from, size_t& begin, size_t& end) const;

 private:
  friend class RegexSearch;
  std::string pattern_;
  void* code_ = nullptr;
};

// Walks through the matches of texts, one after another. Throws unsupported naming the pattern where a match
// takes more work than a tokenizer may cost.
class RegexSearch {
 public:
  explicit RegexSearch(const RegularExpression& expression);
  ~RegexSearch();
  RegexSearch(const RegexSearch&) = delete;
  RegexSearch& operator=(const RegexSearch&) = delete;

  void start(std::string_view text);  // the text stays the caller's
  // The next match; it may be empty, but not where the last one ended. False: no more.
  bool next(size_t& begin, size_t& end);
  bool find(size_t from, size_t& begin, size_t& end);

 private:
  int match(size_t from, uint32_t options);
  size_t to_text(size_t place) const;     // from subject_
  size_t to_subject(size_t place) const;  // to subject_

  const RegularExpression& expression_;
  void* data_;
  void* context_;
  std::string_view text_;
  std::string_view subject_;          // text_, or replaced_
  std::string replaced_;              // with U+FFFD for each byte that is not UTF-8
  std::vector<size_t> replacements_;  // where they are in replaced_
  size_t from_ = 0, last_end_ = 0;
};

}  // namespace nanochat
