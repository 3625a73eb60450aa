#include "base/random.h"

#include <bit>
#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace nanochat {
namespace {

struct KnownBlock {
  std::array<uint32_t, 4> counter;
  std::array<uint32_t, 2> key;
  std::array<uint32_t, 4> expected;
};

// The known answers for philox4x32-10 that come with the authors' library Random123.
constexpr KnownBlock kKnown[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(Philox, GivesTheKnownAnswers) {
  for (const KnownBlock& known : kKnown) EXPECT_EQ(philox4x32(known.counter, known.key), known.expected);
}

TEST(Philox, ManyBlocksAreTheSameAsOneByOne) {
  const uint64_t seed = 0x123456789abcdef0, stream = 0xfedcba9876543210;
  const auto low = [](uint64_t word) { return static_cast<uint32_t>(word); };
  const auto high = [](uint64_t word) { return static_cast<uint32_t>(word >> 32); };
  for (const uint64_t first : {uint64_t{0}, uint64_t{5}, uint64_t{0xfffffffb}, ~uint64_t{0} - 300}) {
    for (const size_t n : {0, 1, 7, 63, 64, 65, 200}) {
      std::vector<std::array<uint32_t, 4>> blocks(n);
      philox4x32_blocks(seed, stream, first, blocks);
      for (size_t i = 0; i < n; ++i) {
        EXPECT_EQ(blocks[i], philox4x32({low(first + i), high(first + i), low(stream), high(stream)},
                                        {low(seed), high(seed)}))
            << first << " + " << i;
      }
    }
  }
}

TEST(CounterRandom, IsAFunctionOfSeedStreamAndPosition) {
  const CounterRandom random(42, 7);
  EXPECT_EQ(random.bits(1000), CounterRandom(42, 7).bits(1000));
  std::set<uint64_t> seen;
  for (const uint64_t seed : {0ull, 1ull, 1ull << 40}) {
    for (const uint64_t stream : {0ull, 1ull, 1ull << 40}) {
      for (const uint64_t position : {0ull, 1ull, 2ull, 3ull, 1ull << 33, (1ull << 33) + 1}) {
        seen.insert(CounterRandom(seed, stream).bits(position));
      }
    }
  }
  EXPECT_EQ(seen.size(), 3u * 3u * 6u);
}

TEST(CounterRandom, TakesItsBitsFromPhilox) {
  const CounterRandom random(0, 0);
  EXPECT_EQ(random.bits(0), 0xe169c58d6627e8d5u);
  EXPECT_EQ(random.bits(1), 0x9b00dbd8bc57ac4cu);
}

TEST(CounterRandom, SpreadsUniformNumbersEvenlyOverTheUnitInterval) {
  const CounterRandom random(3, 1);
  constexpr int kN = 100'000, kBins = 20;
  int counts[kBins] = {};
  for (int i = 0; i < kN; ++i) {
    const double value = random.uniform(static_cast<uint64_t>(i));
    ASSERT_TRUE(value >= 0 && value < 1) << value;
    ++counts[static_cast<int>(value * kBins)];
  }
  double chi_square = 0;
  for (const int count : counts) chi_square += std::pow(count - kN / kBins, 2) / (kN / kBins);
  EXPECT_LT(chi_square, 43.8);  // 99.9 % of a chi-square with 19 degrees of freedom
}

// Kolmogorov-Smirnov against the normal distribution, and the correlation of neighbours, which share a block.
TEST(CounterRandom, DrawsFromTheNormalDistribution) {
  const CounterRandom random(3, 2);
  constexpr int kN = 100'000;
  std::vector<double> values;
  double neighbours = 0;
  for (int i = 0; i < kN; ++i) values.push_back(random.normal(static_cast<uint64_t>(i)));
  for (int i = 0; i + 1 < kN; i += 2)
    neighbours += values[static_cast<size_t>(i)] * values[static_cast<size_t>(i) + 1];
  EXPECT_LT(std::abs(neighbours / (kN / 2.0)), 4 / std::sqrt(kN / 2.0));
  std::sort(values.begin(), values.end());
  double distance = 0;
  for (int i = 0; i < kN; ++i) {
    const double expected = 0.5 * std::erfc(-values[static_cast<size_t>(i)] / std::sqrt(2.0));
    distance = std::max(distance, std::abs(expected - (i + 0.5) / kN));
  }
  EXPECT_LT(distance, 1.95 / std::sqrt(kN));  // 99.9 %
}

}  // namespace
}  // namespace nanochat
