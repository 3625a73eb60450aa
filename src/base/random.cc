#include "base/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nanochat {

namespace {

uint32_t low_half(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high_half(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// One block of Philox gives the numbers of two neighbouring positions.
struct Pair {
  uint64_t even, odd;
};

Pair pair_at(uint64_t seed, uint64_t stream, uint64_t position) {
  const uint64_t block = position / 2;
  const auto words = philox4x32({low_half(block), high_half(block), low_half(stream), high_half(stream)},
                                {low_half(seed), high_half(seed)});
  return {uint64_t{words[1]} << 32 | words[0], uint64_t{words[3]} << 32 | words[2]};
}

constexpr double kTwoToMinus53 = 0x1p-53;

constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

// Blocks side by side, each word in the low half of a 64-bit lane: the shape in which any vector unit
// multiplies 32-bit words to 64-bit products.
constexpr size_t kGroup = 8;
struct Group {
  uint64_t word[4][kGroup];
};

Group philox_group(uint64_t seed, uint64_t stream, uint64_t first_block) {
  constexpr uint64_t kLow = 0xffffffff;
  Group group;
  for (size_t i = 0; i < kGroup; ++i) {
    group.word[0][i] = (first_block + i) & kLow;
    group.word[1][i] = (first_block + i) >> 32;
    group.word[2][i] = stream & kLow;
    group.word[3][i] = stream >> 32;
  }
  uint32_t key0 = low_half(seed), key1 = high_half(seed);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < kGroup; ++i) {
      const uint64_t product0 = kMultiplier0 * (group.word[0][i] & kLow);
      const uint64_t product1 = kMultiplier1 * (group.word[2][i] & kLow);
      group.word[0][i] = (product1 >> 32) ^ group.word[1][i] ^ key0;
      group.word[2][i] = (product0 >> 32) ^ group.word[3][i] ^ key1;
      group.word[1][i] = product1 & kLow;
      group.word[3][i] = product0 & kLow;
    }
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return group;
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {high_half(product1) ^ counter[1] ^ key[0], low_half(product1),
               high_half(product0) ^ counter[3] ^ key[1], low_half(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

void philox4x32_blocks(uint64_t seed, uint64_t stream, uint64_t first_block,
                       std::span<std::array<uint32_t, 4>> blocks) {
  for (size_t done = 0; done < blocks.size(); done += kGroup) {
    const Group words = philox_group(seed, stream, first_block + done);
    const size_t n = std::min(kGroup, blocks.size() - done);
    for (size_t i = 0; i < n; ++i) {
      for (size_t word = 0; word < 4; ++word) {
        blocks[done + i][word] = static_cast<uint32_t>(words.word[word][i]);
      }
    }
  }
}

uint64_t CounterRandom::bits(uint64_t position) const {
  const Pair pair = pair_at(seed_, stream_, position);
  return position % 2 == 0 ? pair.even : pair.odd;
}

double CounterRandom::uniform(uint64_t position) const {
  return static_cast<double>(bits(position) >> 11) * kTwoToMinus53;
}

double CounterRandom::normal(uint64_t position) const {
  const Pair pair = pair_at(seed_, stream_, position);
  // (0, 1]: the logarithm of zero never happens.
  const double radius_source = static_cast<double>((pair.even >> 11) + 1) * kTwoToMinus53;
  const double angle = 2 * std::numbers::pi * (static_cast<double>(pair.odd >> 11) * kTwoToMinus53);
  const double radius = std::sqrt(-2 * std::log(radius_source));
  return radius * (position % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

}  // namespace nanochat
