#include "tokenizer/unicode_classes.h"

#include <array>

#include <utf8proc.h>

#include "base/utf8.h"

namespace nanochat {

namespace {

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0d);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// What \w has beyond letters, marks, digits and connectors: Join_Control and the circled and squared letters
// of Other_Alphabetic.
bool is_other_word(char32_t c) {
  return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
         (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

uint16_t category_bits(char32_t codepoint) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(codepoint))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kCharLetter | kCharUpper | kCharWord;
    case UTF8PROC_CATEGORY_LL:
      return kCharLetter | kCharLower | kCharWord;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kCharLetter | kCharUncased | kCharWord;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kCharMark | kCharWord;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      return kCharNumber | kCharWord;
    case UTF8PROC_CATEGORY_NO:
      return kCharNumber;
    case UTF8PROC_CATEGORY_PC:
      return kCharPunctuation | kCharWord;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kCharPunctuation;
    default:
      return 0;
  }
}

uint16_t classify(char32_t codepoint) {
  unsigned bits = category_bits(codepoint);
  if (is_white_space(codepoint)) bits |= kCharSpace;
  if (codepoint == '\r' || codepoint == '\n') bits |= kCharLineBreak;
  if (codepoint < 0x80 && codepoint > ' ' && codepoint < 0x7f && bits == 0) bits |= kCharPunctuation;
  if (is_other_word(codepoint)) bits |= kCharWord;
  return static_cast<uint16_t>(bits);
}

const std::array<uint16_t, 128>& ascii_classes() {
  static const std::array<uint16_t, 128> table = [] {
    std::array<uint16_t, 128> classes{};
    for (char32_t c = 0; c < 128; ++c) classes[c] = classify(c);
    return classes;
  }();
  return table;
}

}  // namespace

uint16_t char_class(char32_t codepoint) {
  return codepoint < 128 ? ascii_classes()[codepoint] : classify(codepoint);
}

ClassedChar classed_char_at(std::string_view text, size_t position) {
  const auto byte = static_cast<unsigned char>(text[position]);
  if (byte < 128) return {byte, 1, ascii_classes()[byte]};
  const DecodedCodepoint decoded = decode_utf8(text, position);
  if (!decoded.valid) return {0xfffd, 1, 0};
  return {decoded.codepoint, decoded.length, classify(decoded.codepoint)};
}

}  // namespace nanochat
