#include "tokenizer/unicode_classes.h"

#include <map>

#include <utf8proc.h>

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
  if (codepoint > 0x3000 && codepoint >> 8 != 0x1f1) return static_cast<uint16_t>(bits);
  if (is_white_space(codepoint)) bits |= kCharSpace;
  if (codepoint == '\r' || codepoint == '\n') bits |= kCharLineBreak;
  if (codepoint < 0x80 && codepoint > ' ' && codepoint < 0x7f && bits == 0) bits |= kCharPunctuation;
  if (is_other_word(codepoint)) bits |= kCharWord;
  return static_cast<uint16_t>(bits);
}

// Nothing between these is assigned: unused planes, and private use to the end.
bool may_be_assigned(char32_t codepoint) {
  return codepoint < 0x40000 || (codepoint >= 0xe0000 && codepoint < 0xe1000);
}

}  // namespace

CharClasses::CharClasses() : bits_(kPageSize) {
  std::map<std::vector<uint16_t>, uint16_t> known{{bits_, 0}};
  std::vector<uint16_t> page(kPageSize);
  for (size_t i = 0; i < kPages; ++i) {
    const auto first = static_cast<char32_t>(i * kPageSize);
    if (!may_be_assigned(first)) continue;
    for (size_t c = 0; c < kPageSize; ++c) page[c] = classify(first + static_cast<char32_t>(c));
    const auto [found, is_new] = known.emplace(page, static_cast<uint16_t>(known.size()));
    if (is_new) bits_.insert(bits_.end(), page.begin(), page.end());
    pages_[i] = found->second;
  }
}

const CharClasses& CharClasses::table() {
  static const CharClasses classes;
  return classes;
}

}  // namespace nanochat
