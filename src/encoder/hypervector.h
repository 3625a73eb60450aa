// E9, the hyperdimensional embedder: 10,000 bits made of random vectors of symbols by rotation, XOR and
// majority. No weights, and exact: integers only. Definition: docs/embedders.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "encoder/bit_counter.h"

namespace nanochat {

class Hypervector {
 public:
  static constexpr int64_t kBits = 10000;
  static constexpr size_t kWords = (kBits + 63) / 64;  // bits past kBits are 0

  bool bit(int64_t index) const {
    const auto i = static_cast<uint64_t>(index);
    return (words_[i / 64] >> (i % 64) & 1) != 0;
  }
  const std::array<uint64_t, kWords>& words() const { return words_; }
  std::array<uint64_t, kWords>& words() { return words_; }

  // Bit i moves to i + 1, the last to 0.
  Hypervector rotated() const;
  Hypervector operator^(const Hypervector& other) const;
  bool operator==(const Hypervector&) const = default;

  // As bytes: bit i is bit i % 8 of byte i / 8.
  std::array<std::byte, kBits / 8> bytes() const;

 private:
  std::array<uint64_t, kWords> words_{};
};

// Symbols are code points 0..0x10FFFF and the ones below.
struct HypervectorSymbol {
  static constexpr uint32_t kInvalidByte = 0x110000;  // + the byte: one that is no part of valid UTF-8
  static constexpr uint32_t kStart = 0x110100, kEnd = 0x110101;
  static constexpr uint32_t kTie = 0x110102;  // decides where as many ones as zeros were added
};

// The random vector of a symbol: the first 10,000 bits of Philox(seed kHypervectorSeed, stream symbol), bit j
// being bit j % 32 of word j / 32 % 4 of block j / 128.
inline constexpr uint64_t kHypervectorSeed = 10000;
Hypervector symbol_hypervector(uint32_t symbol);

// The majority of what is added: bit by bit, ties as in kTie's vector. Of nothing: kTie's vector.
class HypervectorBundle {
 public:
  void add(const Hypervector& member) { counter_.add(member.words()); }
  Hypervector majority() const;

 private:
  BitCounter counter_{Hypervector::kWords};
};

int64_t hamming_distance(const Hypervector& a, const Hypervector& b);
inline double hamming_similarity(const Hypervector& a, const Hypervector& b) {
  return 1.0 - static_cast<double>(hamming_distance(a, b)) / static_cast<double>(Hypervector::kBits);
}

// The bundle of all trigrams of kStart, kStart, the text's symbols, kEnd; a trigram (a, b, c) is a rotated
// twice XOR b rotated once XOR c.
Hypervector embed_hyperdimensional(std::string_view text);

}  // namespace nanochat
