// Character classes of the split rules, from utf8proc (Unicode 15).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

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

// The classes of all code points, a table made once from utf8proc's own.
class CharClasses {
 public:
  static const CharClasses& table();

  uint16_t of(char32_t codepoint) const {
    const size_t page = codepoint < kPages * kPageSize ? pages_[codepoint / kPageSize] : 0;
    return bits_[page * kPageSize + codepoint % kPageSize];
  }
  uint16_t of_ascii(uint8_t byte) const { return bits_[pages_[0] * kPageSize + byte]; }

 private:
  static constexpr size_t kPageSize = 256;
  static constexpr size_t kPages = 0x110000 / kPageSize;

  CharClasses();

  std::array<uint16_t, kPages> pages_{};  // equal pages are stored once; page 0 is the one without any class
  std::vector<uint16_t> bits_;
};

inline uint16_t char_class(char32_t codepoint) { return CharClasses::table().of(codepoint); }

struct ClassedChar {
  char32_t codepoint;
  uint32_t length;  // bytes; 1 for a byte that does not belong to well-formed UTF-8
  uint16_t bits;
  bool is(uint16_t wanted) const { return (bits & wanted) != 0; }
};

// The character at `position` < text.size(). Each byte of an ill-formed sequence is a character of its own,
// U+FFFD, in no class.
inline ClassedChar classed_char_at(const CharClasses& classes, std::string_view text, size_t position) {
  const auto byte = static_cast<uint8_t>(text[position]);
  if (byte < 128) return {byte, 1, classes.of_ascii(byte)};
  const auto tail = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[position + i])) ^ 0x80;
  };
  const size_t left = text.size() - position;
  if (byte >= 0xc2 && byte < 0xe0 && left >= 2 && tail(1) < 0x40) {
    const char32_t codepoint = (byte & 0x1fu) << 6 | tail(1);
    return {codepoint, 2, classes.of(codepoint)};
  }
  if (byte >= 0xe0 && byte < 0xf0 && left >= 3 && (tail(1) | tail(2)) < 0x40) {
    const char32_t codepoint = (byte & 0x0fu) << 12 | tail(1) << 6 | tail(2);
    const bool surrogate = codepoint >= 0xd800 && codepoint < 0xe000;
    if (codepoint >= 0x800 && !surrogate) return {codepoint, 3, classes.of(codepoint)};
  }
  if (byte >= 0xf0 && byte < 0xf5 && left >= 4 && (tail(1) | tail(2) | tail(3)) < 0x40) {
    const char32_t codepoint = (byte & 0x07u) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    if (codepoint >= 0x10000 && codepoint < 0x110000) return {codepoint, 4, classes.of(codepoint)};
  }
  return {0xfffd, 1, 0};
}

inline ClassedChar classed_char_at(std::string_view text, size_t position) {
  return classed_char_at(CharClasses::table(), text, position);
}

}  // namespace nanochat
