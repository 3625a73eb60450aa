#include <limits>

#include "every_device.h"

namespace nanochat::testing {
namespace {

class SoftmaxStatistics : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(SoftmaxStatistics);

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double expected_sum(const std::vector<float>& x, float largest, float scale) {
  double sum = 0;
  for (const float value : x)
    sum += std::exp(static_cast<double>(scale) * (static_cast<double>(value) - largest));
  return sum;
}

SoftmaxStats stats_of(Device& device, const std::vector<float>& x, float scale = 1.0F) {
  return device.kernels().softmax_stats(device, x.data(), static_cast<int64_t>(x.size()), scale);
}

TEST_P(SoftmaxStatistics, AgreeWithADoublePrecisionSumForEverySizeAndTemperature) {
  for (const int64_t n : {1, 2, 15, 16, 17, 63, 64, 65, 1000, 1023, 1024, 1025, 65536, 70001}) {
    for (const float scale : {0.25F, 1.0F, 3.0F}) {
      const std::vector<float> x = random_floats(static_cast<uint64_t>(n), n, 12.0F);
      const SoftmaxStats stats = stats_of(device(), x, scale);
      const auto largest = std::max_element(x.begin(), x.end());
      EXPECT_EQ(stats.largest, *largest);
      EXPECT_EQ(stats.index, largest - x.begin());
      // exp of 2 ulp of an argument rounded three times, of at most 72; sums of 1024 in fp32.
      const double expected = expected_sum(x, *largest, scale);
      EXPECT_NEAR(stats.sum, expected, expected * 3e-5) << n << " " << scale;
    }
  }
}

TEST_P(SoftmaxStatistics, TheFirstOfEqualOnesIsNamed) {
  for (const size_t first : {0, 1, 15, 16, 31, 77, 98}) {
    std::vector<float> x(100, -1.0F);
    x[first] = x[99] = 2.5F;
    EXPECT_EQ(stats_of(device(), x).index, static_cast<int64_t>(first));
  }
  EXPECT_EQ(stats_of(device(), {0.0F, -0.0F, 0.0F}).index, 0);
  EXPECT_EQ(stats_of(device(), {-0.0F, 0.0F}).index, 0);
}

TEST_P(SoftmaxStatistics, MinusInfinityCountsNothing) {
  std::vector<float> x(300, -kInfinity);
  x[200] = -50.0F;
  const SoftmaxStats stats = stats_of(device(), x);
  EXPECT_EQ(stats.index, 200);
  EXPECT_EQ(stats.largest, -50.0F);
  EXPECT_EQ(stats.sum, 1.0);
}

TEST_P(SoftmaxStatistics, SayWhenThereIsNoChoice) {
  for (const size_t n : {1, 16, 40}) {
    for (const float bad : {NAN, -NAN, kInfinity}) {
      for (const size_t where : {size_t{0}, n / 2, n - 1}) {
        std::vector<float> x(n, 1.0F);
        x[where] = bad;
        EXPECT_EQ(stats_of(device(), x).index, -1) << bad;
      }
    }
    EXPECT_EQ(stats_of(device(), std::vector<float>(n, -kInfinity)).index, -1);
  }
  EXPECT_EQ(stats_of(device(), {}).index, -1);
}

TEST_P(SoftmaxStatistics, AreTheSameBitsEachTime) {
  const std::vector<float> x = random_floats(3, 50000, 9.0F);
  const SoftmaxStats once = stats_of(device(), x, 0.7F);
  const auto other = make_device(GetParam(), 1);
  EXPECT_EQ(stats_of(*other, x, 0.7F).sum, once.sum);
}

}  // namespace
}  // namespace nanochat::testing
