// Character classes of the split rules, from utf8proc (Unicode 15).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nanochat {

// Bits of CharClass::bits. A code point outside every class has no bit; so has a byte that is not UTF-8.
constexpr uint16_t kCharLetter = 1;         // \p{L}
constexpr uint16_t kCharNumber = 2;         // \p{N}
constexpr uint16_t kCharSpace = 4;          // \s: White_Space
constexpr uint16_t kCharMark = 8;           // \p{M}
constexpr uint16_t kCharUpper = 16;         // \p{Lu} \p{Lt}
constexpr uint16_t kCharLower = 32;         // \p{Ll}
constexpr uint16_t kCharUncased = 64;       // \p{Lm} \p{Lo}
constexpr uint16_t kCharLineBreak = 128;    // \r \n
constexpr uint16_t kCharPunctuation = 256;  // \p{P}, and the ASCII symbols $+<=>^`|~
constexpr uint16_t kCharWord = 512;         // \w: letters, marks, Nd, Nl, Pc, joiners, circled letters

uint16_t char_class(char32_t codepoint);

struct ClassedChar {
  char32_t codepoint;
  uint32_t length;  // bytes; 1 for a byte that does not belong to well-formed UTF-8
  uint16_t bits;
  bool is(uint16_t wanted) const { return (bits & wanted) != 0; }
};

// The character at `position` < text.size(). Each byte of an ill-formed sequence is a character of its own,
// U+FFFD, in no class.
ClassedChar classed_char_at(std::string_view text, size_t position);

}  // namespace nanochat
