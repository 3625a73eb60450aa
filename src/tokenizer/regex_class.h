// The inside of [...] and what is one character besides: \w \s \p{..}, as PCRE2 text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat {

// A set of characters: the union of `body` (PCRE2's text between brackets) and of `members`, or the
// intersection of `members`.
struct RegexClass {
  enum class Kind : uint8_t { of_any, of_all };
  Kind kind = Kind::of_any;
  bool negated = false;
  std::string body;
  std::vector<RegexClass> members;

  std::string text() const;  // a pattern that matches one character
};

// The set of a letter after a backslash: w W s S d D h H. False: another letter. Outside brackets \w has six
// more characters, for the reason that the library has them there.
enum class RegexPlace : uint8_t { inside_brackets, outside };
bool regex_class_of_letter(char letter, RegexPlace place, RegexClass& found);
// The set of \p{name}; false: unknown. Spaces, '_', '-' and case do not matter.
bool regex_class_of_property(std::string_view name, RegexClass& found);
// The set of [:name:].
bool regex_class_of_posix(std::string_view name, RegexClass& found);

std::string regex_codepoint(char32_t c);  // \x{..}

}  // namespace nanochat
