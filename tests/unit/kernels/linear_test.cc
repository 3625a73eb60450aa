#include "every_device.h"

namespace nanochat::testing {
namespace {

class Linear : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(Linear);
class LinearOnThreads : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(LinearOnThreads);

constexpr float kUntouched = 12345.0F;
constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::i8, DType::f8_e4m3};

struct Problem {
  DType dtype;
  int64_t n, k, m;
  std::vector<float> w, x;
};

Problem make_problem(DType dtype, int64_t n, int64_t k, int64_t m) {
  return {dtype, n, k, m, random_floats(1, n * k), random_floats(2, m * k, 2.0F)};
}

// What linear() makes of `before`.
std::vector<float> run(Device& device, const Problem& problem, const PackedMatrix& w,
                       std::vector<float> before, LinearOutput output) {
  const DeviceArray<float> x(device, problem.x);
  DeviceArray<float> y(device, std::move(before));
  device.kernels().linear(device, w, x.data(), problem.k, problem.m, y.data(), problem.n, output);
  return y.to_host();
}

std::vector<float> run(Device& device, const Problem& problem, const PackedMatrix& w) {
  return run(device, problem, w, std::vector<float>(static_cast<size_t>(problem.m * problem.n), kUntouched),
             LinearOutput::store);
}

// y and its bound: n roundings of a random walk, each at most half a last place of what the sum can hold.
// 4 sqrt(k) 2^-24 of the sum of magnitudes is far above that and far below one missing term.
void expect_agrees(const Problem& problem, const std::vector<float>& y) {
  const double tolerance = 4 * std::sqrt(static_cast<double>(problem.k)) * 0x1p-24;
  for (int64_t row = 0; row < problem.m; ++row) {
    for (int64_t column = 0; column < problem.n; ++column) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < problem.k; ++i) {
        const double term = static_cast<double>(rounded_to(
                                problem.dtype, problem.x[static_cast<size_t>(row * problem.k + i)])) *
                            rounded_to(problem.dtype, problem.w[static_cast<size_t>(column * problem.k + i)]);
        sum += term;
        magnitude += std::abs(term);
      }
      ASSERT_NEAR(y[static_cast<size_t>(row * problem.n + column)], sum, tolerance * magnitude)
          << dtype_name(problem.dtype) << " m " << problem.m << " n " << problem.n << " k " << problem.k
          << " at [" << row << ", " << column << "]";
    }
  }
}

void check(Device& device, DType dtype, int64_t n, int64_t k, int64_t m) {
  const Problem problem = make_problem(dtype, n, k, m);
  const Packed w(device, dtype, n, k, problem.w);
  expect_agrees(problem, run(device, problem, w.matrix()));
}

TEST_P(Linear, AgreesWithADoublePrecisionSumForOddSizes) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t n : sizes({1, 7, 63, 64, 65, 130, 200}, {1, 63, 65, 130})) {
      for (const int64_t k : {1, 2, 3, 17, 64, 129}) {
        for (const int64_t m : {1, 2, 5, 7}) check(device(), dtype, n, k, m);
      }
    }
  }
}

TEST_P(Linear, AgreesForEveryNumberOfRowsUpToTwenty) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (int64_t m = 1; m <= 20; ++m) check(device(), dtype, 130, 67, m);
  }
}

TEST_P(Linear, AgreesWhenRowsColumnsAndTermsSpanManyBlocks) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    check(device(), dtype, 100, size(5001, 2001), 3);
    check(device(), dtype, 70, size(2600, 520), 131);
    check(device(), dtype, 130, 256, 70);  // rows aligned as the fast ways need them
    check(device(), dtype, 64, 1024, 2);
  }
}

TEST_P(Linear, ARowHasTheSameBitsAloneAndAmongOthers) {
  for (const DType dtype : kTypes) {
    for (const int64_t k : sizes({37, 700, 4133, 768}, {37, 528, 700})) {
      Problem all = make_problem(dtype, size(200, 70), k, 133);
      const Packed w(device(), dtype, all.n, k, all.w);
      const std::vector<float> together = run(device(), all, w.matrix());
      for (const int64_t m : sizes({1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 20}, {1, 4, 7, 16, 20})) {
        for (const int64_t first : sizes({0, 59, 113}, {113})) {
          Problem some = all;
          some.m = m;
          some.x.erase(some.x.begin(), some.x.begin() + first * k);
          const std::vector<float> few = run(device(), some, w.matrix());
          ASSERT_TRUE(same_bits(few.data(), together.data() + first * all.n, m * all.n))
              << m << " rows, k " << k;
        }
      }
    }
  }
}

TEST_P(LinearOnThreads, EveryNumberOfThreadsGivesTheSameBits) {
  for (const DType dtype : kTypes) {
    for (const int64_t m : {1, 40}) {
      const Problem problem = make_problem(dtype, 1300, 700, m);
      std::vector<float> first;
      for (const int n_threads : {1, 2, 3, 4}) {
        const auto other = make_device(GetParam(), n_threads);
        const Packed w(*other, dtype, problem.n, problem.k, problem.w);
        const std::vector<float> y = run(*other, problem, w.matrix());
        if (first.empty()) first = y;
        ASSERT_TRUE(same_bits(y.data(), first.data(), problem.m * problem.n))
            << n_threads << " threads, m " << m;
      }
    }
  }
}

TEST_P(Linear, AddPutsTheSumOntoWhatIsThere) {
  for (const DType dtype : kTypes) {
    for (const int64_t m : {1, 9}) {
      const Problem problem = make_problem(dtype, 70, size(2600, 600), m);
      const Packed w(device(), dtype, problem.n, problem.k, problem.w);
      const std::vector<float> sums = run(device(), problem, w.matrix());
      const std::vector<float> before = random_floats(3, m * problem.n, 50.0F);
      const std::vector<float> y = run(device(), problem, w.matrix(), before, LinearOutput::add);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], before[i] + sums[i]) << i;
    }
  }
}

TEST_P(Linear, RowsMayBeFartherApartThanTheyAreLongAndNothingElseIsWritten) {
  for (const DType dtype : kTypes) {
    const Problem problem = make_problem(dtype, 70, 33, 8);
    const Packed w(device(), dtype, problem.n, problem.k, problem.w);
    const std::vector<float> dense = run(device(), problem, w.matrix());
    const int64_t ldx = 40, ldy = 97;
    std::vector<float> x(static_cast<size_t>(8 * ldx), NAN);
    for (int64_t row = 0; row < 8; ++row) {
      std::memcpy(x.data() + row * ldx, problem.x.data() + row * problem.k,
                  static_cast<size_t>(problem.k) * 4);
    }
    const DeviceArray<float> far_rows(device(), x);
    DeviceArray<float> far_y(device(), 8 * ldy, kUntouched);
    kernels().linear(device(), w.matrix(), far_rows.data(), ldx, 8, far_y.data(), ldy, LinearOutput::store);
    const std::vector<float> y = far_y.to_host();
    for (int64_t row = 0; row < 8; ++row) {
      ASSERT_TRUE(same_bits(y.data() + row * ldy, dense.data() + row * problem.n, problem.n));
      for (int64_t i = problem.n; i < ldy; ++i) ASSERT_EQ(y[static_cast<size_t>(row * ldy + i)], kUntouched);
    }
  }
}

TEST_P(Linear, NoRowsIsNoWork) {
  Problem problem = make_problem(DType::bf16, 70, 33, 1);
  const Packed w(device(), DType::bf16, 70, 33, problem.w);
  problem.m = 0;
  EXPECT_EQ(run(device(), problem, w.matrix(), {kUntouched}, LinearOutput::store).front(), kUntouched);
}

}  // namespace
}  // namespace nanochat::testing
