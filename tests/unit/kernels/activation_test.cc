#include <functional>

#include "every_device.h"

namespace nanochat::testing {
namespace {

class Activation : public EveryDevice {
 protected:
  std::vector<float> relu2(const std::vector<float>& values) {
    auto x = on_device(values);
    kernels().relu2(device(), x.data(), x.size());
    return x.to_host();
  }
  std::vector<float> softcap(const std::vector<float>& values, float cap) {
    auto x = on_device(values);
    kernels().softcap(device(), x.data(), x.size(), cap);
    return x.to_host();
  }
  // Of rows of gates and ups.
  std::vector<float> swiglu(const std::vector<float>& values, int64_t n_rows, int64_t width) {
    const auto x = on_device(values);
    DeviceArray<float> y(device(), n_rows * width);
    kernels().swiglu(device(), x.data(), y.data(), n_rows, width);
    return y.to_host();
  }
  std::vector<float> scale_add(float a, const std::vector<float>& values, float b,
                               const std::vector<float>& to) {
    const auto x = on_device(values);
    auto y = on_device(to);
    kernels().scale_add(device(), a, x.data(), b, y.data(), y.size());
    return y.to_host();
  }
  // bias may be empty: none.
  std::vector<float> bias_activation(const std::vector<float>& values, int64_t ldx, int64_t n_rows,
                                     int64_t width, const std::vector<float>& bias,
                                     RowActivation activation) {
    auto x = on_device(values);
    const auto b = on_device(bias);
    kernels().bias_activation(device(), x.data(), ldx, n_rows, width, bias.empty() ? nullptr : b.data(),
                              activation);
    return x.to_host();
  }
};
NANOCHAT_ON_EVERY_DEVICE(Activation);
class ActivationOnThreads : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(ActivationOnThreads);

// Every sign, exponent and a few fractions, so that no range of magnitudes is missed.
std::vector<float> every_magnitude(float limit) {
  std::vector<float> values;
  for (uint32_t bits = 0; bits < 0x7f800000U; bits += 0x3fff1U) {
    for (const uint32_t sign : {0U, 0x80000000U}) {
      const auto value = std::bit_cast<float>(bits | sign);
      if (std::abs(value) <= limit) values.push_back(value);
    }
  }
  return values;
}

int64_t size_of(const std::vector<float>& values) { return static_cast<int64_t>(values.size()); }

TEST_P(Activation, Relu2SquaresWhatIsPositive) {
  const std::vector<float> before = every_magnitude(1e18F), x = relu2(before);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(x[i], before[i] > 0 ? before[i] * before[i] : 0.0F) << before[i];
  }
}

TEST_P(Activation, Relu2LetsNotANumberThrough) {
  for (const float value : relu2(std::vector<float>(37, NAN))) EXPECT_TRUE(std::isnan(value));
}

TEST_P(Activation, SwigluIsWithinTwoPartsInTenMillionOfTheOracle) {
  const std::vector<float> gates = every_magnitude(200.0F);
  const int64_t width = size_of(gates);
  const std::vector<float> up = random_floats(1, width, 2.0F);
  std::vector<float> x = gates;
  x.insert(x.end(), up.begin(), up.end());
  const std::vector<float> y = swiglu(x, 1, width);
  for (size_t i = 0; i < y.size(); ++i) {
    const double gate = gates[i], expected = gate / (1.0 + std::exp(-gate)) * up[i];
    // Five roundings and an exponential of two ulp; below exp(-87) the result may flush to zero.
    ASSERT_NEAR(y[i], expected, 8 * 0x1p-24 * std::abs(expected) + 1e-35) << gate;
  }
}

TEST_P(Activation, SwigluReadsGateAndUpOfEachRow) {
  for (const int64_t width : {1, 15, 16, 100}) {
    const int64_t n_rows = 3;
    const std::vector<float> x = random_floats(2, n_rows * 2 * width, 5.0F);
    const std::vector<float> y = swiglu(x, n_rows, width);
    for (int64_t i = 0; i < n_rows * width; ++i) {
      const int64_t at = i / width * 2 * width + i % width;
      const double gate = x[static_cast<size_t>(at)];
      ASSERT_NEAR(y[static_cast<size_t>(i)],
                  gate / (1.0 + std::exp(-gate)) * x[static_cast<size_t>(at + width)], 1e-5);
    }
  }
}

TEST_P(Activation, SoftcapIsWithinTwoPartsInTenMillionOfTheOracle) {
  for (const float cap : {1.0F, 15.0F, 30.0F}) {
    const std::vector<float> before = every_magnitude(1e30F), x = softcap(before, cap);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = cap * std::tanh(static_cast<double>(before[i]) / cap);
      ASSERT_NEAR(x[i], expected, 5 * 0x1p-24 * std::abs(expected) + 1e-37) << before[i] << " cap " << cap;
    }
  }
}

TEST_P(Activation, SoftcapKeepsTheSignAndNeverPassesTheCap) {
  const std::vector<float> x = softcap({INFINITY, -INFINITY, 1e30F, -1e30F, 0.0F, 1e-30F, 100.0F}, 15.0F);
  EXPECT_EQ(x, (std::vector<float>{15.0F, -15.0F, 15.0F, -15.0F, 0.0F, 1e-30F, x[6]}));
  EXPECT_LE(x[6], 15.0F);
}

TEST_P(Activation, NotANumberStaysNotANumber) {
  const std::vector<float> x(70, NAN);
  for (const float value : swiglu(x, 1, 35)) EXPECT_TRUE(std::isnan(value));
  for (const float value : softcap(x, 15.0F)) EXPECT_TRUE(std::isnan(value));
}

TEST_P(Activation, ScaleAddWeighsBoth) {
  for (const int64_t n : {1, 15, 16, 17, 1000}) {
    const std::vector<float> x = random_floats(3, n), before = random_floats(4, n);
    const std::vector<float> y = scale_add(0.3F, x, -1.7F, before);
    for (size_t i = 0; i < y.size(); ++i) {
      const double expected = static_cast<double>(0.3F) * x[i] + static_cast<double>(-1.7F) * before[i];
      ASSERT_NEAR(y[i], expected, 3 * 0x1p-24 * (std::abs(0.3 * x[i]) + std::abs(1.7 * before[i])));
    }
  }
}

TEST_P(Activation, MultiplyTakesRowsOfAnyDistanceAndLeavesWhatIsBetween) {
  for (const int64_t width : {1, 15, 64, 1000}) {
    const int64_t ldx = 2 * width + 3, ldf = width + 1, n_rows = 5;
    const std::vector<float> before = random_floats(5, n_rows * ldx), factor = random_floats(6, n_rows * ldf);
    auto multiplied = on_device(before);
    const auto by_rows = on_device(factor);
    kernels().multiply(device(), multiplied.data(), ldx, by_rows.data(), ldf, n_rows, width);
    const std::vector<float> x = multiplied.to_host();
    for (int64_t row = 0; row < n_rows; ++row) {
      for (int64_t i = 0; i < ldx; ++i) {
        const auto at = static_cast<size_t>(row * ldx + i);
        const float by = i < width ? factor[static_cast<size_t>(row * ldf + i)] : 1.0F;
        ASSERT_EQ(x[at], before[at] * by) << row << ' ' << i;
      }
    }
  }
}

constexpr RowActivation kActivations[] = {
    RowActivation::none,       RowActivation::relu, RowActivation::gelu, RowActivation::gelu_tanh,
    RowActivation::quick_gelu, RowActivation::silu, RowActivation::tanh};

double activated(RowActivation activation, double x) {
  switch (activation) {
    case RowActivation::none:
      return x;
    case RowActivation::relu:
      return std::max(x, 0.0);
    case RowActivation::gelu:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case RowActivation::gelu_tanh: {
      const double inner = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
      return x * std::exp(2 * inner) / (1 + std::exp(2 * inner));
    }
    case RowActivation::quick_gelu:
      return x / (1 + std::exp(-1.702 * x));
    case RowActivation::silu:
      return x / (1 + std::exp(-x));
    case RowActivation::tanh:
      return std::tanh(x);
  }
  return NAN;
}

// What the argument of an exponential loses by rounding, the result loses as a part of itself.
double size_of_exponent(RowActivation activation, double x) {
  if (activation == RowActivation::gelu_tanh) return 1.6 * std::abs(x) * (1 + 0.0447 * x * x);
  return activation == RowActivation::quick_gelu ? 1.702 * std::abs(x) : 0;
}

TEST_P(Activation, ActivationsAreWithinAFewRoundingsOfTheOracle) {
  for (const auto activation : kActivations) {
    std::vector<float> before = every_magnitude(12.5F);
    for (int i = -2500; i <= 2500; ++i) before.push_back(static_cast<float>(i) * 0.005F);
    const int64_t n = size_of(before);
    const std::vector<float> x = bias_activation(before, n, 1, n, {}, activation);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = activated(activation, before[i]);
      const double roundings = 10 + 2 * size_of_exponent(activation, before[i]);
      ASSERT_NEAR(x[i], expected, roundings * 0x1p-24 * std::abs(expected) + 1e-35)
          << before[i] << " activation " << static_cast<int>(activation);
    }
  }
}

TEST_P(Activation, ActivationsOfTheLargestNumbersAreTheirLimits) {
  for (const auto activation : kActivations) {
    if (activation == RowActivation::none || activation == RowActivation::tanh) continue;
    const std::vector<float> x =
        bias_activation({40.0F, 1e4F, 1e10F, -1e4F, -1e10F, 0.0F, NAN}, 7, 1, 7, {}, activation);
    EXPECT_EQ(x[0], 40.0F);
    EXPECT_EQ(x[1], 1e4F);
    EXPECT_EQ(x[2], 1e10F);
    for (const size_t i : {3, 4, 5}) EXPECT_NEAR(x[i], 0.0F, 1e-27F) << static_cast<int>(activation);
    EXPECT_TRUE(std::isnan(x[6]));
  }
}

TEST_P(Activation, ABiasBelongsToItsColumnAndNothingElseOfARowChanges) {
  for (const auto activation : kActivations) {
    for (const int64_t width : {1, 15, 16, 33, 100}) {
      const int64_t n_rows = 4, ldx = width + 3;
      const std::vector<float> before = random_floats(6, n_rows * ldx, 3.0F), bias = random_floats(7, width);
      const std::vector<float> x = bias_activation(before, ldx, n_rows, width, bias, activation);
      for (int64_t i = 0; i < n_rows * ldx; ++i) {
        const auto at = static_cast<size_t>(i);
        if (i % ldx >= width) {
          ASSERT_EQ(x[at], before[at]);
        } else {
          const float sum = before[at] + bias[static_cast<size_t>(i % ldx)];
          ASSERT_NEAR(x[at], activated(activation, sum), 2e-6) << static_cast<int>(activation);
        }
      }
    }
  }
}

TEST_P(Activation, ABiasAloneIsAdded) {
  const std::vector<float> x = {1.0F, 2.0F, 3.0F, 4.0F};
  EXPECT_EQ(bias_activation(x, 2, 2, 2, {}, RowActivation::none), x);
  EXPECT_EQ(bias_activation(x, 2, 2, 2, {0.5F, -0.5F}, RowActivation::none),
            (std::vector<float>{1.5F, 1.5F, 3.5F, 3.5F}));
}

constexpr int64_t kOperations = 11;

// What every operation makes of each of `values`, one after the other.
std::vector<float> apply_all(Device& on, const std::vector<float>& values) {
  const int64_t n = size_of(values);
  std::vector<float> all;
  const auto keep = [&](const DeviceArray<float>& y) {
    const std::vector<float> part = y.to_host();
    all.insert(all.end(), part.begin(), part.end());
  };
  const DeviceArray<float> x(on, values);
  DeviceArray<float> squared(on, values), capped(on, values), added(on, values), gated(on, n);
  on.kernels().relu2(on, squared.data(), n);
  keep(squared);
  on.kernels().softcap(on, capped.data(), n, 15.0F);
  keep(capped);
  std::vector<float> twice = values;
  twice.insert(twice.end(), values.begin(), values.end());
  const DeviceArray<float> gate_and_up(on, std::move(twice));
  on.kernels().swiglu(on, gate_and_up.data(), gated.data(), 1, n);
  keep(gated);
  on.kernels().scale_add(on, 0.3F, x.data(), 0.9F, added.data(), n);
  keep(added);
  for (const auto activation : kActivations) {
    DeviceArray<float> column(on, values), row(on, values);
    on.kernels().bias_activation(on, column.data(), 1, n, 1, nullptr, activation);
    on.kernels().bias_activation(on, row.data(), n, 1, n, nullptr, activation);
    EXPECT_TRUE(same_bits(column.to_host().data(), row.to_host().data(), n)) << static_cast<int>(activation);
    keep(row);
  }
  return all;
}

// An element's bits depend on its value alone: not on its place, its neighbours or the number of threads.
TEST_P(Activation, AnElementHasTheSameBitsAnywhere) {
  const int64_t n = size(200003, 20003);
  const std::vector<float> x = random_floats(5, n, 20.0F), whole = apply_all(device(), x);
  for (const int64_t first : {int64_t{1}, int64_t{13}, n / 4 * 3}) {
    for (const int64_t count : {1, 7, 33}) {
      const std::vector<float> part = apply_all(device(), {x.begin() + first, x.begin() + first + count});
      for (int64_t op = 0; op < kOperations; ++op) {
        EXPECT_TRUE(same_bits(part.data() + op * count, whole.data() + op * n + first, count)) << op;
      }
    }
  }
}

TEST_P(ActivationOnThreads, EveryNumberOfThreadsGivesTheSameBits) {
  const std::vector<float> x = random_floats(5, 200003, 20.0F), whole = apply_all(device(), x);
  for (const int n_threads : {1, 3, 4}) {
    EXPECT_TRUE(same_bits(apply_all(*make_device(GetParam(), n_threads), x).data(), whole.data(),
                          kOperations * size_of(x)));
  }
}

}  // namespace
}  // namespace nanochat::testing
