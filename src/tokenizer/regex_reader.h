// Reads the parts of a regular expression in Oniguruma's syntax that mean the same in brackets and outside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tokenizer/regex_class.h"

namespace nanochat {

class RegexReader {
 public:
  explicit RegexReader(std::string_view pattern) : pattern_(pattern) {}

 protected:
  [[noreturn]] void unsupported(size_t at, std::string_view reason) const {
    fail(Status::format_unsupported, at, reason);
  }
  [[noreturn]] void invalid(size_t at, std::string_view reason) const {
    fail(Status::format_invalid, at, reason);
  }

  bool has(std::string_view text) const { return pattern_.substr(at_, text.size()) == text; }
  bool take(std::string_view text);
  char32_t take_character();
  std::string take_name(size_t begin);  // up to '>'

  // The character of an escape that is one. `c` stands after the backslash, which is at `begin`.
  char32_t escaped_character(char32_t c, size_t begin);
  // \p{name} and \P{name}, the letter being read; false: no brace follows, so it is a letter.
  bool property(bool negated, size_t begin, RegexClass& found);
  // Whether the brace at at_ is {n}, {n,}, {,n} or {n,m}; else it is a brace.
  bool is_interval() const;
  uint32_t count(std::string_view digits, uint32_t if_empty, size_t begin) const;

  const std::string_view pattern_;
  size_t at_ = 0;

 private:
  [[noreturn]] void fail(Status status, size_t at, std::string_view reason) const;
  char32_t hexadecimal(size_t most, size_t begin);
};

}  // namespace nanochat
