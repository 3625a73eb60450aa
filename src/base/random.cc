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

// Word w of block i is word[w][i]. The loop over blocks is the outer one and its body is straight, so that
// the compiler turns it into vectors.
constexpr size_t kGroup = 64;
struct Group {
  uint32_t word[4][kGroup];
};

void philox_group(uint64_t seed, uint64_t stream, uint64_t first_block, Group& group) {
  for (size_t i = 0; i < kGroup; ++i) {
    group.word[0][i] = low_half(first_block + i);
    group.word[1][i] = high_half(first_block + i);
  }
  for (size_t i = 0; i < kGroup; ++i) {
    uint32_t a = group.word[0][i], b = group.word[1][i], c = low_half(stream), d = high_half(stream);
    uint32_t key0 = low_half(seed), key1 = high_half(seed);
#pragma GCC unroll 10
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t product0 = kMultiplier0 * a;
      const uint64_t product1 = kMultiplier1 * c;
      a = high_half(product1) ^ b ^ key0;
      c = high_half(product0) ^ d ^ key1;
      b = low_half(product1);
      d = low_half(product0);
      key0 += kWeyl0;
      key1 += kWeyl1;
    }
    group.word[0][i] = a;
    group.word[1][i] = b;
    group.word[2][i] = c;
    group.word[3][i] = d;
  }
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
  Group group;
  for (size_t done = 0; done < blocks.size(); done += kGroup) {
    philox_group(seed, stream, first_block + done, group);
    const size_t n = std::min(kGroup, blocks.size() - done);
    for (size_t i = 0; i < n; ++i) {
      blocks[done + i] = {group.word[0][i], group.word[1][i], group.word[2][i], group.word[3][i]};
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
