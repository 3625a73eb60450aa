// Weights of e4m3: how they are packed, given back and multiplied.
#include <algorithm>
#include <limits>
#include <numeric>

#include "packed_on_host.h"

namespace nanochat::testing {
namespace {

class F8Weights : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(F8Weights);

constexpr DType kF8 = DType::f8_e4m3;

// Codes of a row of floats by the words of tensor/kernels.h.
struct Row {
  float scale = 0;
  std::vector<uint8_t> codes;
};

Row row_of(const float* from, int64_t k) {
  float largest = 0;
  for (int64_t i = 0; i < k; ++i) largest = std::max(largest, std::abs(from[i]));
  Row row{largest / 448.0F, {}};
  for (int64_t i = 0; i < k; ++i) {
    row.codes.push_back(row.scale == 0 ? f8_from_float(from[i]) : f8_from_float(from[i] / row.scale));
  }
  return row;
}

void expect_packed(Device& device, const PackedMatrix& matrix, const std::vector<float>& rows) {
  const PackedOnHost packed(device, matrix);
  const int64_t n = matrix.n, k = matrix.k;
  const std::vector<float> zeros(static_cast<size_t>(k), 0.0F);
  for (int64_t i = 0; i < (n + 63) / 64 * 64; ++i) {
    const Row row = row_of(i < n ? rows.data() + i * k : zeros.data(), k);
    ASSERT_EQ(packed.scale(i), row.scale) << i;
    for (int64_t column = 0; column < (k + 1) / 2 * 2; ++column) {
      ASSERT_EQ(packed.stored(i, column), column < k ? row.codes[static_cast<size_t>(column)] : 0)
          << "[" << n << ", " << k << "] at [" << i << ", " << column << "]";
    }
  }
}

TEST_P(F8Weights, RowsAreDividedByTheirScalesAndRoundedAndThePaddingIsZero) {
  for (const DType source : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t n : sizes({1, 63, 64, 65, 200}, {1, 64, 130})) {
      for (const int64_t k : sizes({1, 2, 15, 16, 33, 255, 256, 257, 600}, {1, 2, 33, 256, 257})) {
        std::vector<float> rows = random_floats(1, n * k, 100.0F);
        for (int64_t i = 0; i < k; ++i) rows[static_cast<size_t>(n / 2 * k + i)] *= 1e-3F;
        const auto stored = stored_as(source, rows);
        for (float& value : rows) value = rounded_to(source, value);
        const Packed packed(device(), kF8, n, k);
        ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, stored.data(), source, nullptr), -1);
        expect_packed(device(), packed.matrix(), rows);
      }
    }
  }
}

TEST_P(F8Weights, RowsOfZerosAndOfTheSmallestAndLargestNumbersArePackedToo) {
  const float tiny = std::numeric_limits<float>::denorm_min(), huge = std::numeric_limits<float>::max();
  const std::vector<float> rows = {0,    0,     -0.0F,    0, tiny, -tiny, 0,      100 * tiny,
                                   huge, -huge, huge / 2, 1, 448,  1,     2.125F, -2.375F};
  const Packed packed(device(), kF8, 4, 4);
  EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, 4, rows.data(), DType::f32, nullptr), -1);
  expect_packed(device(), packed.matrix(), rows);
  const PackedOnHost on_host(device(), packed.matrix());
  EXPECT_EQ(on_host.at(3, 2), 2.0F) << "a tie goes to the even neighbour";
  EXPECT_EQ(on_host.at(3, 3), -2.5F);
}

TEST_P(F8Weights, PiecesOfAnySizeMakeTheSameMatrixAsOne) {
  const int64_t n = 203, k = 77;
  const std::vector<float> rows = random_floats(2, n * k);
  for (const int64_t piece : {1, 10, 64, 100, 190}) {
    const Packed packed(device(), kF8, n, k);
    for (int64_t row = 0; row < n; row += piece) {
      kernels().pack_rows(device(), packed.matrix(), row, std::min(piece, n - row), rows.data() + row * k,
                          DType::f32, nullptr);
    }
    expect_packed(device(), packed.matrix(), rows);
  }
}

TEST_P(F8Weights, StoredCodesAndScalesAreKeptAsTheyAreAndGivenBack) {
  for (const int64_t n : {1, 70, 130}) {
    for (const int64_t k : {1, 6, 67, 300}) {
      std::vector<uint8_t> codes(static_cast<size_t>(n * k));
      for (size_t i = 0; i < codes.size(); ++i) {
        codes[i] = static_cast<uint8_t>(mix(3, i));
        if ((codes[i] & 0x7f) == 0x7f) codes[i] = 0x80;
      }
      std::vector<float> scales = random_floats(4, n);
      for (float& scale : scales) scale = std::abs(scale);
      const Packed packed(device(), kF8, n, k);
      for (int64_t row = 0; row < n; row += 9) {
        ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), row, std::min<int64_t>(9, n - row),
                                      codes.data() + row * k, kF8, scales.data() + row),
                  -1);
      }
      std::vector<int32_t> all(static_cast<size_t>(n));
      std::iota(all.begin(), all.end(), 0);
      DeviceArray<float> unpacked(device(), n * k);
      kernels().unpack_rows(device(), packed.matrix(), all, unpacked.data());
      const std::vector<float> values = unpacked.to_host();
      const PackedOnHost on_host(device(), packed.matrix());
      for (size_t i = 0; i < codes.size(); ++i) {
        const auto row = static_cast<int64_t>(i) / k;
        ASSERT_EQ(on_host.stored(row, static_cast<int64_t>(i) % k), codes[i]);
        ASSERT_EQ(values[i], float_from_f8(codes[i]) * scales[static_cast<size_t>(row)]);
      }
    }
  }
}

TEST_P(F8Weights, CodesThatAreNotNumbersAndScalesThatAreNoneAreNamed) {
  const int64_t n = 100, k = 6;
  const std::vector<float> good(static_cast<size_t>(n), 1.0F);
  for (const uint8_t code : {0x7f, 0xff}) {
    for (const int64_t bad : {0, 65, 66 * 6 + 2, 100 * 6 - 1}) {
      std::vector<uint8_t> codes(static_cast<size_t>(n * k), 0x38);
      codes[static_cast<size_t>(bad)] = codes.back() = code;
      const Packed packed(device(), kF8, n, k);
      EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, codes.data(), kF8, good.data()), bad);
    }
  }
  for (const float scale : {NAN, INFINITY, -1.0F}) {
    const std::vector<uint8_t> codes(static_cast<size_t>(n * k), 0x38);
    std::vector<float> scales = good;
    scales[66] = scales[80] = scale;
    const Packed packed(device(), kF8, n, k);
    EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, codes.data(), kF8, scales.data()), 66 * k);
  }
}

std::vector<float> product(Device& device, const PackedMatrix& w, const std::vector<float>& x, int64_t m) {
  const DeviceArray<float> rows(device, x);
  DeviceArray<float> y(device, m * w.n, NAN);
  device.kernels().linear(device, w, rows.data(), w.k, m, y.data(), w.n, LinearOutput::store);
  return y.to_host();
}

// The sum over what is stored, by a walk of k roundings at most.
void check_product(Device& device, int64_t n, int64_t k, int64_t m) {
  const std::vector<float> w = random_floats(5, n * k), x = random_floats(6, m * k, 2.0F);
  const Packed packed(device, kF8, n, k, w);
  const std::vector<float> y = product(device, packed.matrix(), x, m);
  const double tolerance = 4 * std::sqrt(static_cast<double>(k) + 3) * 0x1p-24;
  for (int64_t column = 0; column < n; ++column) {
    const Row row = row_of(w.data() + column * k, k);
    for (int64_t i = 0; i < m; ++i) {
      double sum = 0, magnitude = 0;
      for (int64_t j = 0; j < k; ++j) {
        const double term = static_cast<double>(rounded_to(DType::bf16, x[static_cast<size_t>(i * k + j)])) *
                            float_from_f8(row.codes[static_cast<size_t>(j)]) * row.scale;
        sum += term;
        magnitude += std::abs(term);
      }
      ASSERT_NEAR(y[static_cast<size_t>(i * n + column)], sum, tolerance * magnitude)
          << "m " << m << " n " << n << " k " << k << " at [" << i << ", " << column << "]";
    }
  }
}

TEST_P(F8Weights, AProductAgreesWithADoublePrecisionSumOfWhatIsStored) {
  for (const int64_t n : sizes({1, 63, 65, 130}, {1, 65})) {
    for (const int64_t k : sizes({1, 2, 3, 17, 64, 129, 777}, {1, 3, 64, 129, 777})) {
      for (const int64_t m : sizes({1, 2, 5, 7, 20}, {1, 5, 20})) check_product(device(), n, k, m);
    }
  }
  check_product(device(), 70, size(2601, 801), 31);
  check_product(device(), 70, size(600, 300), 200);
  check_product(device(), 130, 512, 70);  // rows aligned as the fast ways need them
  check_product(device(), 64, 1024, 2);
}

// Every code, also the subnormal ones, on its own: rows of unit vectors times codes.
TEST_P(F8Weights, EveryCodeIsMultipliedExactlyByFewRowsAndByMany) {
  const int64_t n = 256;
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>((i & 0x7f) == 0x7f ? 0 : i);
  const std::vector<float> scales(256, 0.5F);
  const Packed packed(device(), kF8, n, 1);
  kernels().pack_rows(device(), packed.matrix(), 0, n, codes.data(), kF8, scales.data());
  for (const int64_t m : {1, 4, 40}) {
    const std::vector<float> x(static_cast<size_t>(m), -3.0F);
    const std::vector<float> y = product(device(), packed.matrix(), x, m);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], -1.5F * float_from_f8(codes[i % 256])) << i;
  }
}

TEST_P(F8Weights, AreCloseToTheProductOfTheFloats) {
  const int64_t n = 64, k = 1280;
  const std::vector<float> w = random_floats(7, n * k), x = random_floats(8, k);
  const Packed packed(device(), kF8, n, k, w);
  const std::vector<float> y = product(device(), packed.matrix(), x, 1);
  double error = 0, size = 0;
  for (int64_t column = 0; column < n; ++column) {
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      sum += static_cast<double>(x[static_cast<size_t>(i)]) * w[static_cast<size_t>(column * k + i)];
    }
    error += std::pow(sum - y[static_cast<size_t>(column)], 2);
    size += sum * sum;
  }
  EXPECT_LT(std::sqrt(error / size), 0.04);
}

}  // namespace
}  // namespace nanochat::testing
