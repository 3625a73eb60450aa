// Shapes whose rows fill whole loads: what a device may treat differently from odd ones, and differently for
// few rows and many.
#include <algorithm>
#include <numeric>

#include "every_device.h"

namespace nanochat::testing {
namespace {

class LinearShapes : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(LinearShapes);

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::i8, DType::f8_e4m3};

struct Problem {
  DType dtype;
  int64_t n, k, m;
  std::vector<float> w, x;
};

Problem make_problem(DType dtype, int64_t n, int64_t k, int64_t m) {
  return {dtype, n, k, m, random_floats(21, n * k), random_floats(22, m * k, 2.0F)};
}

// The first `m` rows from row `first` of the problem's x, which lie ldx apart.
std::vector<float> run(Device& device, const Problem& problem, const PackedMatrix& w, int64_t first,
                       int64_t m, int64_t ldx) {
  std::vector<float> rows(static_cast<size_t>(m * ldx), NAN);
  for (int64_t row = 0; row < m; ++row) {
    std::copy_n(problem.x.begin() + (first + row) * problem.k, problem.k, rows.begin() + row * ldx);
  }
  const DeviceArray<float> x(device, std::move(rows));
  DeviceArray<float> y(device, m * problem.n, -1.0F);
  device.kernels().linear(device, w, x.data(), ldx, m, y.data(), problem.n, LinearOutput::store);
  return y.to_host();
}

// i8: the very bits of the obvious loops. Else: the sum in double precision over what these have stored.
void expect_agrees(const Problem& problem, const std::vector<float>& y) {
  const auto oracle = make_device("reference");
  const Packed w(*oracle, problem.dtype, problem.n, problem.k, problem.w);
  if (problem.dtype == DType::i8) {
    const std::vector<float> expected = run(*oracle, problem, w.matrix(), 0, problem.m, problem.k);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], expected[i]) << i;
    return;
  }
  std::vector<int32_t> all(static_cast<size_t>(problem.n));
  std::iota(all.begin(), all.end(), 0);
  std::vector<float> stored(problem.w.size());
  oracle->kernels().unpack_rows(*oracle, w.matrix(), all, stored.data());
  const DType rounding = problem.dtype == DType::f32 ? DType::f32 : DType::bf16;
  const double tolerance = 4 * std::sqrt(static_cast<double>(problem.k) + 3) * 0x1p-24;
  for (int64_t row = 0; row < problem.m; ++row) {
    std::vector<double> x;
    for (int64_t i = 0; i < problem.k; ++i)
      x.push_back(rounded_to(rounding, problem.x[static_cast<size_t>(row * problem.k + i)]));
    for (int64_t column = 0; column < problem.n; ++column) {
      const float* weights = stored.data() + column * problem.k;
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < problem.k; ++i) {
        const double term = x[static_cast<size_t>(i)] * static_cast<double>(weights[i]);
        sum += term;
        magnitude += std::abs(term);
      }
      ASSERT_NEAR(y[static_cast<size_t>(row * problem.n + column)], sum, tolerance * magnitude)
          << "at [" << row << ", " << column << "]";
    }
  }
}

// Every number of rows gives the bits that all rows together have, and these are right.
void check(Device& device, DType dtype, int64_t n, int64_t k, int64_t m,
           std::initializer_list<int64_t> fewer_rows) {
  SCOPED_TRACE(std::string(dtype_name(dtype)) + " n " + std::to_string(n) + " k " + std::to_string(k));
  const Problem problem = make_problem(dtype, n, k, m);
  const Packed w(device, dtype, n, k, problem.w);
  const std::vector<float> together = run(device, problem, w.matrix(), 0, m, k);
  expect_agrees(problem, together);
  for (const int64_t few : fewer_rows) {
    const int64_t first = m - few;
    for (const int64_t ldx : {k + 4, k + 1}) {
      if (ldx % 4 != 0 && few != *fewer_rows.begin()) continue;
      const std::vector<float> alone = run(device, problem, w.matrix(), first, few, ldx);
      ASSERT_TRUE(same_bits(alone.data(), together.data() + first * n, few * n))
          << few << " rows, ldx " << ldx;
    }
  }
}

TEST_P(LinearShapes, AgreeAndGiveARowTheSameBitsForEveryNumberOfRows) {
  for (const DType dtype : kTypes) {
    for (const int64_t n : {40, 264}) {
      for (const int64_t k : {16, 64, 256, 272, 528, 1280})
        check(device(), dtype, n, k, 140, {1, 2, 8, 9, 16});
    }
    check(device(), dtype, 264, 528, 130, {17, 32, 33, 64, 65, 128});
    check(device(), dtype, 72, 528, 66, {17, 32, 33, 64, 65});
    check(device(), dtype, 250, 272, 200, {1, 9, 129});
    check(device(), dtype, 1000, 272, 12, {1, 9});
  }
}

TEST_P(LinearShapes, AgreeForLongRows) {
  for (const DType dtype : kTypes) check(device(), dtype, 24, 8320, 12, {1, 8, 9});
}

TEST_P(LinearShapes, AgreeForManyOutputs) {
  for (const DType dtype : kTypes) check(device(), dtype, 1608, 784, 6, {1, 2, 5});
}

TEST_P(LinearShapes, ARowThatIsNotFiniteSpoilsNoOther) {
  for (const DType dtype : kTypes) {
    for (const int64_t m : {2, 12, 24, 80}) {
      Problem problem = make_problem(dtype, 136, 320, m);
      const Packed w(device(), dtype, problem.n, problem.k, problem.w);
      const std::vector<float> clean = run(device(), problem, w.matrix(), 0, m, problem.k);
      problem.x[static_cast<size_t>(problem.k + 300)] = NAN;
      const std::vector<float> y = run(device(), problem, w.matrix(), 0, m, problem.k);
      for (size_t i = 0; i < y.size(); ++i) {
        if (i / 136 == 1) {
          ASSERT_TRUE(std::isnan(y[i])) << i;
        } else {
          ASSERT_EQ(y[i], clean[i]) << i;
        }
      }
    }
  }
}

TEST_P(LinearShapes, NoInputsAreSumsOfZero) {
  for (const DType dtype : kTypes) {
    const Packed w(device(), dtype, 70, 0, {});
    for (const int64_t m : {1, 9, 40}) {
      const DeviceArray<float> x(device(), std::vector<float>(8));
      DeviceArray<float> y(device(), m * 70, 3.0F);
      kernels().linear(device(), w.matrix(), x.data(), 4, m, y.data(), 70, LinearOutput::add);
      for (const float value : y.to_host()) ASSERT_EQ(value, 3.0F);
      kernels().linear(device(), w.matrix(), x.data(), 4, m, y.data(), 70, LinearOutput::store);
      for (const float value : y.to_host()) ASSERT_EQ(value, 0.0F);
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
