// int8 weights are held to exact integers: every device and instruction set must give the very bits of these
// loops.
#include <algorithm>
#include <limits>

#include "every_device.h"

namespace nanochat::testing {
namespace {

class LinearInt8 : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(LinearInt8);

constexpr int64_t kGroup = 256;

struct Quantised {
  std::vector<int64_t> values;
  float scale;
};

float largest_of(const float* from, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(from[i]));
  return largest;
}

Quantised weights_of(const float* row, int64_t k) {
  Quantised out{{}, largest_of(row, k) / 127};
  for (int64_t i = 0; i < k; ++i)
    out.values.push_back(out.scale == 0 ? 0 : static_cast<int64_t>(std::nearbyint(row[i] / out.scale)));
  return out;
}

Quantised inputs_of(const float* from, int64_t n) {
  const float largest = largest_of(from, n);
  const float inverse = 127 / largest;
  Quantised out{{}, largest / 127};
  for (int64_t i = 0; i < n; ++i)
    out.values.push_back(largest == 0 ? 0 : static_cast<int64_t>(std::nearbyint(from[i] * inverse)));
  return out;
}

struct Problem {
  int64_t n, k, m;
  std::vector<float> w, x;
};

Problem make_problem(int64_t n, int64_t k, int64_t m) {
  return {n, k, m, random_floats(1, n * k), random_floats(2, m * k, 2.0F)};
}

std::vector<float> expected_of(const Problem& problem) {
  std::vector<float> y;
  std::vector<Quantised> rows;
  for (int64_t i = 0; i < problem.n; ++i)
    rows.push_back(weights_of(problem.w.data() + i * problem.k, problem.k));
  for (int64_t m = 0; m < problem.m; ++m) {
    std::vector<Quantised> groups;
    for (int64_t first = 0; first < problem.k; first += kGroup) {
      groups.push_back(
          inputs_of(problem.x.data() + m * problem.k + first, std::min(kGroup, problem.k - first)));
    }
    for (int64_t n = 0; n < problem.n; ++n) {
      float chain = 0;
      for (size_t g = 0; g < groups.size(); ++g) {
        int64_t sum = 0;
        for (size_t i = 0; i < groups[g].values.size(); ++i)
          sum += groups[g].values[i] * rows[static_cast<size_t>(n)].values[g * kGroup + i];
        chain = std::fma(static_cast<float>(sum), groups[g].scale, chain);
      }
      y.push_back(rows[static_cast<size_t>(n)].scale * chain);
    }
  }
  return y;
}

std::vector<float> run(Device& device, const Problem& problem) {
  const Packed w(device, DType::i8, problem.n, problem.k, problem.w);
  const DeviceArray<float> x(device, problem.x);
  DeviceArray<float> y(device, problem.m * problem.n, -1.0F);
  device.kernels().linear(device, w.matrix(), x.data(), problem.k, problem.m, y.data(), problem.n,
                          LinearOutput::store);
  return y.to_host();
}

void expect_exact(Device& device, const Problem& problem) {
  const std::vector<float> expected = expected_of(problem), y = run(device, problem);
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(y[i], expected[i]) << "m " << problem.m << " n " << problem.n << " k " << problem.k << " at ["
                                 << i / static_cast<size_t>(problem.n) << ", "
                                 << i % static_cast<size_t>(problem.n) << "]";
  }
}

TEST_P(LinearInt8, IsTheExactIntegerSumForOddSizes) {
  for (const int64_t n : sizes({1, 63, 64, 65, 130}, {1, 63, 130})) {
    for (const int64_t k : sizes({1, 2, 3, 4, 5, 17, 64, 67, 128, 255, 256, 257, 300, 512, 777},
                                 {1, 3, 17, 64, 255, 257, 512})) {
      for (const int64_t m : {1, 2, 5, 7}) expect_exact(device(), make_problem(n, k, m));
    }
  }
}

TEST_P(LinearInt8, IsTheExactIntegerSumForEveryNumberOfRowsUpToTwentySix) {
  for (int64_t m = 1; m <= 26; ++m) expect_exact(device(), make_problem(size(130, 70), 323, m));
}

TEST_P(LinearInt8, IsTheExactIntegerSumOverManyBlocks) {
  expect_exact(device(), make_problem(100, size(5001, 2001), 3));
  expect_exact(device(), make_problem(70, size(2600, 520), 131));
  expect_exact(device(), make_problem(130, 512, 70));  // rows aligned as the fast ways need them
  expect_exact(device(), make_problem(64, 1024, 2));
}

TEST_P(LinearInt8, TheLargestSumsDoNotOverflow) {
  const int64_t n = size(64, 4);
  Problem problem{n, 65536, 2, std::vector<float>(static_cast<size_t>(n) * 65536, 1.0F),
                  std::vector<float>(2 * 65536, 3.0F)};
  for (int64_t i = 65536; i < 2 * 65536; ++i) problem.x[static_cast<size_t>(i)] = -3.0F;
  for (int64_t i = 0; i < 65536; ++i) problem.w[static_cast<size_t>(i)] = -1.0F;
  expect_exact(device(), problem);
}

TEST_P(LinearInt8, RowsOfZerosAndZeroInputsGiveZero) {
  Problem problem = make_problem(70, 600, 3);
  std::fill_n(problem.w.begin() + 600, 600, 0.0F);
  std::fill_n(problem.x.begin() + 600, 600, 0.0F);         // a row
  std::fill_n(problem.x.begin() + 1200 + 256, 256, 0.0F);  // a group
  expect_exact(device(), problem);
  const std::vector<float> y = run(device(), problem);
  for (int64_t row = 0; row < 3; ++row) EXPECT_EQ(y[static_cast<size_t>(row * 70 + 1)], 0.0F);
  for (int64_t column = 0; column < 70; ++column) EXPECT_EQ(y[static_cast<size_t>(70 + column)], 0.0F);
}

TEST_P(LinearInt8, InputsTooSmallForAScaleCountAsZeros) {
  Problem problem = make_problem(3, 40, 1);
  for (float& x : problem.x) x *= 1e-37F;
  for (const float y : run(device(), problem)) EXPECT_EQ(y, 0.0F);
  for (float& x : problem.x) x = std::numeric_limits<float>::denorm_min();
  for (const float y : run(device(), problem)) EXPECT_EQ(y, 0.0F);
}

TEST_P(LinearInt8, AnInputThatIsNotFiniteMakesItsRowNanAndNoOther) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    Problem problem = make_problem(70, 600, 3);
    const std::vector<float> clean = run(device(), problem);
    problem.x[600 + 300] = bad;
    const std::vector<float> y = run(device(), problem);
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / 70 == 1) {
        ASSERT_TRUE(std::isnan(y[i]));
      } else {
        ASSERT_EQ(y[i], clean[i]);
      }
    }
  }
}

TEST_P(LinearInt8, IsCloseToTheProductOfTheFloats) {
  const Problem problem = make_problem(64, 1280, 4);
  const std::vector<float> y = run(device(), problem);
  double error = 0, size = 0;
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t column = 0; column < 64; ++column) {
      double sum = 0;
      for (int64_t i = 0; i < 1280; ++i) {
        sum += static_cast<double>(problem.x[static_cast<size_t>(row * 1280 + i)]) *
               problem.w[static_cast<size_t>(column * 1280 + i)];
      }
      error += std::pow(sum - y[static_cast<size_t>(row * 64 + column)], 2);
      size += sum * sum;
    }
  }
  EXPECT_LT(std::sqrt(error / size), 0.01);
}

}  // namespace
}  // namespace nanochat::testing
