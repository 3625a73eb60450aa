#include <algorithm>
#include <limits>
#include <numeric>

#include "every_device.h"

namespace nanochat::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Expected {
  std::vector<int32_t> tokens;
  double sum = 0, scaled_sum = 0;
};

// A stable sort keeps equal ones in the order of their places.
Expected expected_of(const std::vector<float>& x, float scale) {
  Expected expected;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] != -kInfinity) expected.tokens.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(expected.tokens.begin(), expected.tokens.end(), [&](int32_t a, int32_t b) {
    return x[static_cast<size_t>(a)] > x[static_cast<size_t>(b)];
  });
  if (expected.tokens.size() > TopLogits::kMost) expected.tokens.resize(TopLogits::kMost);
  const double largest = x[static_cast<size_t>(expected.tokens.at(0))];
  for (const float value : x) {
    expected.sum += std::exp(static_cast<double>(value) - largest);
    expected.scaled_sum += std::exp(static_cast<double>(scale) * (static_cast<double>(value) - largest));
  }
  return expected;
}

class TopOfLogits : public EveryDevice {
 protected:
  using Rows = std::vector<std::vector<float>>;

  std::vector<TopLogits> top_of(const Rows& rows, const std::vector<float>& scales) {
    std::vector<float> all;
    for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
    const auto x = on_device(all);
    std::vector<TopLogits> top(rows.size());
    kernels().select_top(device(), x.data(), std::ssize(rows.front()), scales, top);
    return top;
  }

  void expect_top(const Rows& rows, const std::vector<float>& scales) {
    const std::vector<TopLogits> top = top_of(rows, scales);
    for (size_t row = 0; row < rows.size(); ++row) {
      SCOPED_TRACE("row " + std::to_string(row) + " of " + std::to_string(rows[row].size()));
      const Expected expected = expected_of(rows[row], scales[row]);
      EXPECT_EQ(top[row].n_logits, std::ssize(rows[row]));
      ASSERT_EQ(top[row].n, std::ssize(expected.tokens));
      EXPECT_EQ(std::vector<int32_t>(top[row].tokens, top[row].tokens + top[row].n), expected.tokens);
      for (int32_t i = 0; i < top[row].n; ++i) {
        const float& logit = rows[row][static_cast<size_t>(top[row].tokens[i])];
        EXPECT_TRUE(same_bits(&top[row].logits[i], &logit, 1)) << i;
      }
      EXPECT_NEAR(top[row].sum, expected.sum, expected.sum * 1e-4);
      EXPECT_NEAR(top[row].scaled_sum, expected.scaled_sum, expected.scaled_sum * 1e-4);
    }
  }
};
NANOCHAT_ON_EVERY_DEVICE(TopOfLogits);

TEST_P(TopOfLogits, AreThoseOfAStableSort) {
  for (const int64_t n : {1, 2, 31, 255, 256, 257, 2047, 2048, 2049, 5000, 65536, 200019}) {
    const auto seed = static_cast<uint64_t>(n);
    expect_top(
        {random_floats(seed, n, 12.0F), random_floats(seed + 1, n, 0.1F), random_floats(seed + 2, n, 80.0F)},
        {1.0F, 0.3F, 4.0F});
  }
}

TEST_P(TopOfLogits, AreFoundAmongMoreThanAMillion) { expect_top({random_floats(3, 1100000, 9.0F)}, {0.7F}); }

TEST_P(TopOfLogits, OfEqualOnesAreTheFirst) {
  for (const int64_t n : {300, 3000, 20000}) {
    std::vector<float> coarse = random_floats(5, n, 4.0F);
    for (float& value : coarse) value = std::round(value);
    std::vector<float> zeros(static_cast<size_t>(n), 0.0F);
    for (size_t i = 0; i < zeros.size(); i += 3) zeros[i] = -0.0F;
    std::vector<float> two(static_cast<size_t>(n), -7.0F);
    for (size_t i = 1; i < two.size(); i += 2) two[i] = 2.0F;
    expect_top({coarse, zeros, two}, {1.0F, 2.0F, 0.5F});
  }
}

TEST_P(TopOfLogits, MayStandCloseTogether) {
  std::vector<float> rising(50000), cluster = random_floats(8, 50000), last(50000, -3.0F);
  std::iota(rising.begin(), rising.end(), -25000.0F);
  for (size_t i = 4100; i < 7100; ++i) cluster[i] += 20.0F;
  for (size_t i = last.size() - 256; i < last.size(); ++i) last[i] = static_cast<float>(i % 7);
  std::vector<float> falling(rising.rbegin(), rising.rend());
  expect_top({rising, falling, cluster, last}, {1.0F, 1e-3F, 1.0F, 1.0F});
}

TEST_P(TopOfLogits, MinusInfinityIsNeverOne) {
  std::vector<float> one(9000, -kInfinity), some = random_floats(4, 9000), many = random_floats(5, 9000);
  one[4321] = -50.0F;
  for (size_t i = 0; i < some.size(); ++i) {
    if (i % 100 != 7) some[i] = -kInfinity;
    if (i % 3 != 1) many[i] = -kInfinity;
  }
  expect_top({one, some, many}, {1.0F, 1.0F, 2.0F});
  EXPECT_EQ(top_of({one}, {3.0F})[0].sum, 1.0);
}

TEST_P(TopOfLogits, HoldForTheLargestNumbers) {
  std::vector<float> row = random_floats(6, 4000, 3e38F);
  row[17] = std::numeric_limits<float>::max();
  row[18] = std::numeric_limits<float>::lowest();
  row[19] = std::numeric_limits<float>::denorm_min();
  expect_top({row}, {100.0F});
}

TEST_P(TopOfLogits, SayWhenThereIsNoChoice) {
  for (const size_t n : {1, 40, 5000}) {
    for (const float bad : {NAN, -NAN, kInfinity}) {
      for (const size_t where : {size_t{0}, n / 2, n - 1}) {
        std::vector<float> row(n, 1.0F);
        row[where] = bad;
        const auto top = top_of({std::vector<float>(n, 2.0F), row}, {1.0F, 1.0F});
        EXPECT_EQ(top[0].n, std::min<int64_t>(TopLogits::kMost, static_cast<int64_t>(n)));
        EXPECT_EQ(top[1].n, 0) << bad;
        EXPECT_EQ(top[1].n_logits, static_cast<int32_t>(n));
      }
    }
    EXPECT_EQ(top_of({std::vector<float>(n, -kInfinity)}, {1.0F})[0].n, 0);
  }
}

TEST_P(TopOfLogits, AreTheSameBitsAmongOtherRows) {
  std::vector<std::vector<float>> rows;
  std::vector<float> scales;
  for (uint64_t i = 0; i < 9; ++i) {
    rows.push_back(random_floats(40 + i, 10007, 9.0F));
    scales.push_back(0.5F + static_cast<float>(i));
  }
  const std::vector<TopLogits> together = top_of(rows, scales);
  for (size_t i = 0; i < rows.size(); ++i) {
    const TopLogits alone = top_of({rows[i]}, {scales[i]})[0];
    EXPECT_EQ(alone.sum, together[i].sum) << i;
    EXPECT_EQ(alone.scaled_sum, together[i].scaled_sum) << i;
    EXPECT_EQ(alone.scale, scales[i]);
    EXPECT_TRUE(same_bits(alone.logits, together[i].logits, TopLogits::kMost)) << i;
    EXPECT_TRUE(std::equal(std::begin(alone.tokens), std::end(alone.tokens), together[i].tokens)) << i;
  }
}

}  // namespace
}  // namespace nanochat::testing
