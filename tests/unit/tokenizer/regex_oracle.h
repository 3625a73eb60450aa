// PCRE2 as the oracle of the split scanners: the same patterns in a regular expression engine.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <pcre2.h>

#include "base/utf8.h"

namespace nanochat {

// A byte that is not UTF-8 counts as U+FFFD, which is in the same classes: none. U+180E was a space until
// Unicode 6.3 and still is to PCRE2's \s: what it is now, a format character, U+200B is to both.
class RegexOracle {
 public:
  explicit RegexOracle(std::string_view pattern) {
    int error = 0;
    size_t place = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                          &error, &place, nullptr);
    if (code_ == nullptr) throw std::runtime_error("PCRE2 refuses the pattern at " + std::to_string(place));
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~RegexOracle() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }
  RegexOracle(const RegexOracle&) = delete;
  RegexOracle& operator=(const RegexOracle&) = delete;

  // The ends of the pieces of `text`.
  std::vector<size_t> piece_ends(std::string_view text) const {
    std::vector<size_t> origins;  // of each byte of the subject, and of its end
    const std::string subject = translate(text, origins);
    std::vector<size_t> ends;
    for (size_t begin = 0; begin < subject.size();) {
      const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(),
                                    begin, PCRE2_NO_UTF_CHECK, match_, nullptr);
      const size_t* place = pcre2_get_ovector_pointer(match_);
      if (found <= 0 || place[0] != begin || place[1] <= begin) {
        throw std::runtime_error("the pattern does not cover the text at " + std::to_string(begin));
      }
      begin = place[1];
      ends.push_back(origins[begin]);
    }
    return ends;
  }

  // Whether the pattern matches all of a text.
  bool matches(std::string_view text) const {
    const int found =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, match_, nullptr);
    return found > 0 && pcre2_get_ovector_pointer(match_)[0] == 0 &&
           pcre2_get_ovector_pointer(match_)[1] == text.size();
  }

 private:
  static std::string translate(std::string_view text, std::vector<size_t>& origins) {
    std::string subject;
    for (size_t position = 0; position < text.size();) {
      const DecodedCodepoint c = decode_utf8(text, position);
      if (c.codepoint == 0x180e) {
        append_utf8(subject, 0x200b);
      } else if (c.valid) {
        subject += text.substr(position, c.length);
      } else {
        append_utf8(subject, 0xfffd);
      }
      origins.resize(subject.size(), position);
      position += c.valid ? c.length : 1;
    }
    origins.push_back(text.size());
    return subject;
  }

  pcre2_code* code_;
  pcre2_match_data* match_;
};

}  // namespace nanochat
