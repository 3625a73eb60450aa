#include "tokenizer/regex_reader.h"

#include <algorithm>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

constexpr uint32_t kMaxRepeat = 65535;  // PCRE2's

}  // namespace

void RegexReader::fail(Status status, size_t at, std::string_view reason) const {
  throw Error(status).say("the regular expression '{}', byte {}: {}", excerpt(pattern_, 400), at, reason);
}

bool RegexReader::take(std::string_view text) {
  if (!has(text)) return false;
  at_ += text.size();
  return true;
}

char32_t RegexReader::take_character() {
  if (at_ >= pattern_.size()) invalid(at_, "it ends in the middle");
  const DecodedCodepoint c = decode_utf8(pattern_, at_);
  at_ += c.length;
  return c.codepoint;
}

std::string RegexReader::take_name(size_t begin) {
  const size_t end = pattern_.find('>', at_);
  if (end == std::string_view::npos || end == at_) invalid(begin, "a name without an end");
  const std::string name(pattern_.substr(at_, end - at_));
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto fits = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
  if (!is_letter(name[0]) || !std::all_of(name.begin(), name.end(), fits) || name.size() > 32) {
    unsupported(begin, format_text("the name '{}'", excerpt(name)));
  }
  at_ = end + 1;
  return name;
}

char32_t RegexReader::escaped_character(char32_t c, size_t begin) {
  switch (c) {
    case 't':
      return '\t';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case 'a':
      return '\a';
    case 'e':
      return 0x1b;
    case 'x':
      if (take("{")) {
        const char32_t found = hexadecimal(8, begin);
        if (!take("}")) unsupported(begin, "\\x{ with more than one number");
        return found;
      }
      return hexadecimal(2, begin);
    case 'u': {
      const size_t start = at_;
      const char32_t found = hexadecimal(4, begin);
      if (at_ - start != 4) invalid(begin, "\\u without four digits");
      return found;
    }
    case '0':
      if (at_ < pattern_.size() && pattern_[at_] >= '0' && pattern_[at_] <= '9')
        unsupported(begin, "an octal number");
      return 0;
    case 'o':
    case 'c':
    case 'C':
    case 'M':
      unsupported(begin, format_text("\\{}", std::string(1, static_cast<char>(c))));
    default:
      return c;
  }
}

char32_t RegexReader::hexadecimal(size_t most, size_t begin) {
  char32_t value = 0;
  size_t n = 0;
  for (; n < most && at_ < pattern_.size(); ++n, ++at_) {
    const char c = pattern_[at_];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) break;
    value = value * 16 + static_cast<char32_t>(digit);
  }
  if (n == 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
    invalid(begin, "a number that is no character");
  return value;
}

bool RegexReader::property(bool negated, size_t begin, RegexClass& found) {
  if (!take("{")) return false;
  const size_t end = pattern_.find('}', at_);
  if (end == std::string_view::npos) invalid(begin, "a property without an end");
  const std::string_view name = pattern_.substr(at_, end - at_);
  if (!regex_class_of_property(name, found))
    unsupported(begin, format_text("the property '{}'", excerpt(name)));
  found.negated = found.negated != negated;
  at_ = end + 1;
  return true;
}

bool RegexReader::is_interval() const {
  size_t at = at_ + 1, n_digits = 0;
  const auto digits = [&] {
    for (; at < pattern_.size() && pattern_[at] >= '0' && pattern_[at] <= '9'; ++at) ++n_digits;
  };
  digits();
  if (at < pattern_.size() && pattern_[at] == ',') {
    ++at;
    digits();
  }
  return n_digits > 0 && at < pattern_.size() && pattern_[at] == '}';
}

uint32_t RegexReader::count(std::string_view digits, uint32_t if_empty, size_t begin) const {
  if (digits.empty()) return if_empty;
  uint32_t value = 0;
  for (const char c : digits) {
    value = value * 10 + static_cast<uint32_t>(c - '0');
    if (value > kMaxRepeat) unsupported(begin, format_text("more than {} repetitions", kMaxRepeat));
  }
  return value;
}

}  // namespace nanochat
