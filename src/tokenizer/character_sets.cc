#include "tokenizer/character_sets.h"

#include <algorithm>
#include <string_view>

#include <utf8proc.h>

#include "base/utf8.h"
#include "tokenizer/character_tables.h"
#include "tokenizer/unicode_classes.h"

namespace nanochat {

namespace {

constexpr char32_t kHangulFirst = 0xac00, kLeadFirst = 0x1100, kVowelFirst = 0x1161, kTailBase = 0x11a7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

template <class Range>
const Range* find_range(std::span<const Range> ranges, char32_t c) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t wanted, const Range& range) { return wanted < range.first; });
  if (after == ranges.begin()) return nullptr;
  const Range& found = *(after - 1);
  return c <= found.last ? &found : nullptr;
}

bool is_in(std::span<const CodepointRange> ranges, char32_t c) { return find_range(ranges, c) != nullptr; }

utf8proc_int32_t as_utf8proc(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

utf8proc_category_t category(char32_t c) { return utf8proc_category(as_utf8proc(c)); }

bool is_mark(utf8proc_category_t found) {
  return found == UTF8PROC_CATEGORY_MN || found == UTF8PROC_CATEGORY_MC || found == UTF8PROC_CATEGORY_ME;
}

// Starters that compose with a starter before them: vowel signs of India and neighbours. Vowels and tails of
// Hangul besides.
constexpr CodepointRange kSecondStarters[] = {
    {0x9be, 0x9be},     {0x9d7, 0x9d7},     {0xb3e, 0xb3e},     {0xb56, 0xb57},     {0xbbe, 0xbbe},
    {0xbd7, 0xbd7},     {0xcc2, 0xcc2},     {0xcd5, 0xcd6},     {0xd3e, 0xd3e},     {0xd57, 0xd57},
    {0xdcf, 0xdcf},     {0xddf, 0xddf},     {0x102e, 0x102e},   {0x1161, 0x1175},   {0x11a8, 0x11c2},
    {0x1b35, 0x1b35},   {0x11127, 0x11127}, {0x1133e, 0x1133e}, {0x11357, 0x11357}, {0x114b0, 0x114b0},
    {0x114ba, 0x114ba}, {0x114bd, 0x114bd}, {0x115af, 0x115af}, {0x11930, 0x11930},
};

}  // namespace

bool is_white_space(char32_t c) { return (char_class(c) & kCharSpace) != 0; }

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (char_class(c) & kCharPunctuation) != 0;
  if (c == 0x166d || c == 0x111c9) return true;
  return (char_class(c) & kCharPunctuation) != 0 && !is_in(not_punctuation(), c);
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return (char_class(c) & kCharNumber) != 0 || is_in(later_numbers(), c);
}

bool is_word_character(char32_t c) {
  if ((char_class(c) & kCharWord) != 0) return true;
  if (c < 0x80) return false;
  const LaterCharacters* later = find_range(later_characters(), c);
  if (!later) return false;
  const std::string_view found = later->category;
  return found[0] == 'L' || found[0] == 'M' || found == "Nd" || found == "Nl" || found == "Pc";
}

bool is_nonspacing_mark(char32_t c) {
  if (c < 0x300) return false;
  if (c == 0x1734) return true;
  return category(c) == UTF8PROC_CATEGORY_MN && !is_in(not_nonspacing(), c);
}

bool is_combining_mark(char32_t c) {
  if (c < 0x300) return false;
  if (c == 0x1cf2 || c == 0x1cf3) return true;
  return is_mark(category(c)) && !is_in(not_combining(), c);
}

bool is_bert_control(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  if (c < 0x80) return c < ' ' || c == 0x7f;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CO:
      return true;
    case UTF8PROC_CATEGORY_CF:  // less those of Unicode 9 to 15
      return c != 0x8e2 && c != 0x890 && c != 0x891 && c != 0x110cd && !(c >= 0x13430 && c <= 0x1343f);
    default:
      return false;
  }
}

bool is_bert_ideograph(char32_t c) {
  if (c < 0x3400) return false;
  return c <= 0x4dbf || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
         (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
         (c >= 0x2f800 && c <= 0x2fa1f);
}

void append_lower_case(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  } else if (c == 0x130) {
    out += "i\xcc\x87";
  } else if (const LaterCase* later = find_range(later_cases(), c)) {
    append_utf8(out, later->lower_of_first + (c - later->first));
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(as_utf8proc(c))));
  }
}

uint8_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto found = static_cast<uint8_t>(utf8proc_get_property(as_utf8proc(c))->combining_class);
  return found != 0 && is_in(not_combining(), c) ? 0 : found;
}

size_t decompose(char32_t c, Decomposition kind, char32_t out[kMaxDecomposed]) {
  out[0] = c;
  if (c < 0xa0) return 1;
  utf8proc_int32_t parts[kMaxDecomposed];
  const int options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (kind == Decomposition::compatible ? UTF8PROC_COMPAT : 0);
  const utf8proc_ssize_t n = utf8proc_decompose_char(as_utf8proc(c), parts, kMaxDecomposed,
                                                     static_cast<utf8proc_option_t>(options), nullptr);
  const bool is_itself =
      n <= 0 || n > static_cast<utf8proc_ssize_t>(kMaxDecomposed) || (n == 1 && parts[0] == as_utf8proc(c));
  if (is_itself || is_in(not_decomposed(), c)) return 1;
  for (utf8proc_ssize_t i = 0; i < n; ++i) out[i] = static_cast<char32_t>(parts[i]);
  return static_cast<size_t>(n);
}

char32_t compose(char32_t first, char32_t second) {
  if (first >= kLeadFirst && first < kLeadFirst + kLeads) {
    if (second < kVowelFirst || second >= kVowelFirst + kVowels) return 0;
    return kHangulFirst + ((first - kLeadFirst) * kVowels + (second - kVowelFirst)) * kTails;
  }
  if (first >= kHangulFirst && first < kHangulFirst + kLeads * kVowels * kTails) {
    const bool is_open = (first - kHangulFirst) % kTails == 0;
    return is_open && second > kTailBase && second < kTailBase + kTails ? first + (second - kTailBase) : 0;
  }
  utf8proc_int32_t pair[2] = {as_utf8proc(first), as_utf8proc(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (utf8proc_normalize_utf32(pair, 2, options) != 1) return 0;
  const auto composed = static_cast<char32_t>(pair[0]);
  return is_in(not_decomposed(), composed) ? 0 : composed;
}

bool may_follow_in_composition(char32_t c) { return c >= 0x9be && is_in(kSecondStarters, c); }

}  // namespace nanochat
