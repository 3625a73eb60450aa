// The split rules where a piece and what decides on its end are ASCII: most pieces of most texts. Declines
// everything else, which then is the general scanner's.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

#include "tokenizer/load_bytes.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {

// Of each byte, one of these.
constexpr uint8_t kByteLower = 1, kByteUpper = 2, kByteDigit = 4, kByteSpace = 8, kByteBreak = 16,
                  kByteSymbol = 32, kByteHigh = 64;
constexpr uint8_t kByteLetter = kByteLower | kByteUpper;

constexpr std::array<uint8_t, 256> kByteClasses = [] {
  std::array<uint8_t, 256> classes{};
  for (size_t c = 0; c < 256; ++c) {
    uint8_t of = kByteSymbol;
    if (c >= 'a' && c <= 'z') of = kByteLower;
    if (c >= 'A' && c <= 'Z') of = kByteUpper;
    if (c >= '0' && c <= '9') of = kByteDigit;
    if (c == ' ' || c == '\t' || c == '\v' || c == '\f') of = kByteSpace;
    if (c == '\r' || c == '\n') of = kByteBreak;
    if (c >= 0x80) of = kByteHigh;
    classes[c] = of;
  }
  return classes;
}();

template <const SplitRules& kRules>
class AsciiScanner {
 public:
  explicit AsciiScanner(std::string_view text) : text_(text.data()), size_(text.size()) {}

  // The end of the piece at `begin`, or `begin` itself: not ASCII, too near the end, or a contraction.
  size_t piece(size_t begin) const {
    const uint8_t first = kind(begin);
    if (first & kByteLetter) return word(begin, begin);
    if (first & kByteHigh || begin + 1 >= size_) return begin;
    if (first & kByteDigit) return number(begin, begin);
    const uint8_t second = kind(begin + 1);
    const bool is_space = text_[begin] == ' ';
    if (second & kByteLetter) {
      if (kContracts && text_[begin] == '\'') return begin;
      if (kIsGpt2 ? is_space : !(first & kByteBreak)) return word(begin + 1, begin);
    }
    if (is_space && second & kByteSymbol) return symbols(begin + 1, begin);
    if (first & kByteSymbol) return symbols(begin, begin);
    if (is_space && second & kByteDigit && kRules.max_digits == 0) return number(begin + 1, begin);
    return spaces(begin);
  }

 private:
  static constexpr bool kIsGpt2 = kRules.words == SplitRules::Words::after_space;
  static constexpr bool kByCase = kRules.words == SplitRules::Words::by_case;
  static constexpr bool kContracts = kRules.contractions != SplitRules::Contractions::none && !kByCase;

  uint8_t kind(size_t position) const { return kByteClasses[static_cast<uint8_t>(text_[position])]; }
  bool is_high(size_t position) const { return position < size_ && static_cast<int8_t>(text_[position]) < 0; }

  // Eight letters at a time: adding carries into the top bit of each byte that is large enough.
  template <bool kAnyCase>
  size_t letters_end(size_t position) const {
    constexpr uint64_t kOnes = 0x0101010101010101u, kTops = kOnes * 0x80;
    while (position + 8 <= size_) {
      const uint64_t word = load_8_bytes(text_ + position);
      const uint64_t low = (kAnyCase ? word | kOnes * 0x20 : word) & ~kTops;
      const uint64_t from_a = low + kOnes * (0x80 - 'a'), past_z = low + kOnes * (0x80 - 'z' - 1);
      const uint64_t others = ~(from_a & ~past_z & ~word) & kTops;
      if (others != 0) return position + static_cast<size_t>(std::countr_zero(others)) / 8;
      position += 8;
    }
    const uint8_t wanted = kAnyCase ? kByteLetter : kByteLower;
    while (position < size_ && kind(position) & wanted) ++position;
    return position;
  }

  size_t word(size_t position, size_t declined) const {
    if constexpr (kByCase) {
      while (position < size_ && kind(position) & kByteUpper) ++position;
      position = letters_end<false>(position);
      if (position < size_ && text_[position] == '\'') return declined;  // a contraction may be part of it
    } else {
      position = letters_end<true>(position);
    }
    return is_high(position) ? declined : position;
  }

  size_t number(size_t position, size_t declined) const {
    const size_t limit = kRules.max_digits == 0 ? size_ : position + kRules.max_digits;
    while (position < limit && position < size_ && kind(position) & kByteDigit) ++position;
    return position < limit && is_high(position) ? declined : position;
  }

  size_t symbols(size_t position, size_t declined) const {
    while (position < size_ && kind(position) & kByteSymbol) ++position;
    if (is_high(position)) return declined;
    if constexpr (!kRules.symbol_tail.empty()) {
      while (position < size_ && kRules.symbol_tail.find(text_[position]) != std::string_view::npos)
        ++position;
    }
    return position;
  }

  size_t spaces(size_t begin) const {
    size_t end = begin, after_break = begin;
    while (end < size_ && kind(end) & (kByteSpace | kByteBreak)) {
      ++end;
      if (kind(end - 1) & kByteBreak) after_break = end;
    }
    if (end == size_ || is_high(end)) return begin;
    if (kRules.stops_at_line_break && after_break != begin) return after_break;
    return end - 1 == begin ? end : end - 1;  // the last space goes with what comes after it
  }

  const char* text_;
  size_t size_;
};

}  // namespace nanochat
