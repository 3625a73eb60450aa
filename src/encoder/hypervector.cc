#include "encoder/hypervector.h"

#include <bit>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

constexpr int64_t kLastBits = Hypervector::kBits % 64;  // in the last word
constexpr uint64_t kLastMask = (uint64_t{1} << kLastBits) - 1;
static_assert(kLastBits == 16);

// A symbol's vector as it enters a trigram: at its end, in its middle, at its start.
struct Rotations {
  explicit Rotations(uint32_t symbol)
      : last(symbol_hypervector(symbol)), middle(last.rotated()), first(middle.rotated()) {}
  Hypervector last, middle, first;
};

class RotationCache {
 public:
  const Rotations& of(uint32_t symbol) { return known_.try_emplace(symbol, symbol).first->second; }

 private:
  std::unordered_map<uint32_t, Rotations> known_;  // its elements stay where they are
};

std::vector<uint32_t> padded_symbols(std::string_view text) {
  std::vector<uint32_t> symbols = {HypervectorSymbol::kStart, HypervectorSymbol::kStart};
  for (size_t at = 0; at < text.size();) {
    const DecodedCodepoint decoded = decode_utf8(text, at);
    if (decoded.valid) {
      symbols.push_back(static_cast<uint32_t>(decoded.codepoint));
      at += decoded.length;
    } else {
      for (const size_t end = at + decoded.length; at < end; ++at) {
        symbols.push_back(HypervectorSymbol::kInvalidByte + static_cast<uint8_t>(text[at]));
      }
    }
  }
  symbols.push_back(HypervectorSymbol::kEnd);
  return symbols;
}

}  // namespace

Hypervector Hypervector::rotated() const {
  Hypervector out;
  uint64_t carry = words_.back() >> (kLastBits - 1) & 1;
  for (size_t i = 0; i < kWords; ++i) {
    out.words_[i] = words_[i] << 1 | carry;
    carry = words_[i] >> 63;
  }
  out.words_.back() &= kLastMask;
  return out;
}

Hypervector Hypervector::operator^(const Hypervector& other) const {
  Hypervector out;
  for (size_t i = 0; i < kWords; ++i) out.words_[i] = words_[i] ^ other.words_[i];
  return out;
}

std::array<std::byte, Hypervector::kBits / 8> Hypervector::bytes() const {
  std::array<std::byte, kBits / 8> out;
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(words_[i / 8] >> (i % 8 * 8));
  return out;
}

int64_t hamming_distance(const Hypervector& a, const Hypervector& b) {
  int64_t distance = 0;
  for (size_t i = 0; i < Hypervector::kWords; ++i) distance += std::popcount(a.words()[i] ^ b.words()[i]);
  return distance;
}

Hypervector symbol_hypervector(uint32_t symbol) {
  std::array<std::array<uint32_t, 4>, (Hypervector::kBits + 127) / 128> blocks;
  philox4x32_blocks(kHypervectorSeed, symbol, 0, blocks);
  Hypervector out;
  for (size_t i = 0; i < Hypervector::kWords; ++i) {
    const auto& block = blocks[i / 2];
    out.words()[i] = uint64_t{block[i % 2 * 2 + 1]} << 32 | block[i % 2 * 2];
  }
  out.words().back() &= kLastMask;
  return out;
}

Hypervector HypervectorBundle::majority() const {
  const Hypervector tie = symbol_hypervector(HypervectorSymbol::kTie);
  Hypervector out;
  for (int64_t i = 0; i < Hypervector::kBits; ++i) {
    const auto index = static_cast<uint64_t>(i);
    const uint64_t twice = 2 * counter_.count(index);
    const bool bit = twice == counter_.n_added() ? tie.bit(i) : twice > counter_.n_added();
    out.words()[index / 64] |= uint64_t{bit} << (index % 64);
  }
  return out;
}

Hypervector embed_hyperdimensional(std::string_view text) {
  const std::vector<uint32_t> symbols = padded_symbols(text);
  RotationCache cache;
  HypervectorBundle bundle;
  for (size_t i = 2; i < symbols.size(); ++i) {
    bundle.add(cache.of(symbols[i - 2]).first ^ cache.of(symbols[i - 1]).middle ^ cache.of(symbols[i]).last);
  }
  return bundle.majority();
}

}  // namespace nanochat
