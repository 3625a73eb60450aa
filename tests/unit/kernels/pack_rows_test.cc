#include <limits>
#include <numeric>

#include "packed_on_host.h"

namespace nanochat::testing {
namespace {

class PackRows : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(PackRows);
class UnpackRows : public EveryDevice {
 protected:
  // The rows, and n_beyond numbers behind them that were -7 before.
  std::vector<float> unpack(const PackedMatrix& matrix, const std::vector<int32_t>& rows,
                            int64_t n_beyond = 0) {
    DeviceArray<float> target(device(), std::ssize(rows) * matrix.k + n_beyond, -7.0F);
    kernels().unpack_rows(device(), matrix, rows, target.data());
    return target.to_host();
  }
};
NANOCHAT_ON_EVERY_DEVICE(UnpackRows);
class FindNotFinite : public EveryDevice {
 protected:
  int64_t find(const std::vector<std::byte>& stored, DType dtype, int64_t n) {
    const auto data = on_device(stored);
    return kernels().find_not_finite(device(), data.data(), dtype, n);
  }
};
NANOCHAT_ON_EVERY_DEVICE(FindNotFinite);

constexpr DType kSources[] = {DType::f32, DType::bf16, DType::f16};
constexpr DType kTargets[] = {DType::f32, DType::bf16};
constexpr DType kAllTargets[] = {DType::f32, DType::bf16, DType::i8, DType::f8_e4m3};

void expect_packed(Device& device, const PackedMatrix& matrix, DType source, const std::vector<float>& rows) {
  const PackedOnHost packed(device, matrix);
  const int64_t padded = (matrix.n + 63) / 64 * 64;
  for (int64_t row = 0; row < padded; ++row) {
    for (int64_t column = 0; column < packed_columns(matrix); ++column) {
      const bool inside = row < matrix.n && column < matrix.k;
      const float expected =
          inside ? rounded_to(matrix.dtype,
                              rounded_to(source, rows[static_cast<size_t>(row * matrix.k + column)]))
                 : 0;
      ASSERT_EQ(packed.at(row, column), expected)
          << dtype_name(source) << " to " << dtype_name(matrix.dtype) << " [" << matrix.n << ", " << matrix.k
          << "] at [" << row << ", " << column << "]";
    }
  }
}

TEST_P(PackRows, ConvertsEveryElementAndZeroesThePadding) {
  for (const DType source : kSources) {
    for (const DType target : kTargets) {
      for (const int64_t n : sizes({1, 63, 64, 65, 200}, {1, 63, 64, 130})) {
        for (const int64_t k : sizes({1, 2, 15, 16, 31, 32, 33, 64, 100, 257}, {1, 2, 33, 64, 257})) {
          const std::vector<float> rows = random_floats(5, n * k, 100.0F);
          const Packed packed(device(), target, n, k);
          const auto stored = stored_as(source, rows);
          ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, stored.data(), source, nullptr), -1);
          expect_packed(device(), packed.matrix(), source, rows);
        }
      }
    }
  }
}

TEST_P(PackRows, PiecesOfAnySizeMakeTheSameMatrixAsOne) {
  const int64_t n = 203, k = 77;
  const std::vector<float> rows = random_floats(6, n * k);
  for (const DType source : kSources) {
    const auto stored = stored_as(source, rows);
    for (const DType target : kTargets) {
      for (const int64_t piece : {1, 10, 64, 100, 190}) {
        const Packed packed(device(), target, n, k);
        for (int64_t row = 0; row < n; row += piece) {
          kernels().pack_rows(device(), packed.matrix(), row, std::min(piece, n - row),
                              stored.data() + row * k * dtype_size(source), source, nullptr);
        }
        expect_packed(device(), packed.matrix(), source, rows);
      }
    }
  }
}

TEST_P(PackRows, AMatrixWorthSeveralThreadsIsPackedLikeASmallOne) {
  const int64_t n = 1000, k = 333;
  const std::vector<float> rows = random_floats(7, n * k);
  const auto stored = stored_as(DType::bf16, rows);
  const Packed packed(device(), DType::bf16, n, k);
  EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, stored.data(), DType::bf16, nullptr), -1);
  expect_packed(device(), packed.matrix(), DType::bf16, rows);
}

TEST_P(PackRows, SourcesNeedNoAlignmentBeyondTheirElements) {
  const int64_t n = 70, k = 50;
  const std::vector<float> rows = random_floats(8, n * k);
  for (const DType source : kSources) {
    auto stored = stored_as(source, rows);
    stored.insert(stored.begin(), static_cast<size_t>(dtype_size(source)), std::byte{0});
    const Packed packed(device(), DType::bf16, n, k);
    kernels().pack_rows(device(), packed.matrix(), 0, n, stored.data() + dtype_size(source), source, nullptr);
    expect_packed(device(), packed.matrix(), source, rows);
  }
}

TEST_P(PackRows, NamesTheFirstElementThatIsNotFinite) {
  const int64_t n = 150, k = 45;
  for (const DType source : kSources) {
    for (const DType target : kAllTargets) {
      for (const int64_t bad : {int64_t{0}, int64_t{44}, int64_t{45}, 64 * k + 3, 100 * k + 17, n * k - 1}) {
        for (const float value : sizes<float>({NAN, INFINITY, -INFINITY}, {-INFINITY})) {
          std::vector<float> rows = random_floats(9, n * k);
          rows[static_cast<size_t>(bad)] = value;
          rows.back() = bad == n * k - 1 ? value : NAN;
          const auto stored = stored_as(source, rows);
          const Packed packed(device(), target, n, k);
          EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, stored.data(), source, nullptr), bad)
              << dtype_name(source);
        }
      }
    }
  }
}

TEST_P(PackRows, AnIndexCountsFromTheSourceOfTheCall) {
  std::vector<float> rows = random_floats(10, 30 * 8);
  rows[11] = NAN;
  const Packed packed(device(), DType::f32, 100, 8);
  EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 50, 30, rows.data(), DType::f32, nullptr), 11);
}

TEST_P(PackRows, TheLargestFloatIsFinite) {
  const std::vector<float> rows(64, std::numeric_limits<float>::max());
  const Packed packed(device(), DType::bf16, 8, 8);
  EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, 8, rows.data(), DType::f32, nullptr), -1);
}

// What int8 weights of a row must be, by the words of tensor/kernels.h: the integers, and the scale last.
std::vector<float> quantised(const std::vector<float>& row) {
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  const float scale = largest / 127;
  std::vector<float> out;
  for (const float value : row) {
    // Halves are even: nearbyint rounds so by default.
    out.push_back(scale == 0 ? 0 : std::clamp(std::nearbyint(value / scale), -127.0F, 127.0F));
  }
  out.push_back(scale);
  return out;
}

void expect_packed_int8(Device& device, const PackedMatrix& matrix, DType source,
                        const std::vector<float>& rows) {
  const PackedOnHost packed(device, matrix);
  const int64_t padded = (matrix.n + 63) / 64 * 64;
  for (int64_t row = 0; row < padded; ++row) {
    std::vector<float> values(static_cast<size_t>(matrix.k));
    for (size_t i = 0; i < values.size() && row < matrix.n; ++i)
      values[i] = rounded_to(source, rows[static_cast<size_t>(row * matrix.k) + i]);
    const std::vector<float> expected = quantised(values);
    ASSERT_EQ(packed.scale(row), expected.back()) << row;
    for (int64_t column = 0; column < packed_columns(matrix); ++column) {
      const float q = column < matrix.k ? expected[static_cast<size_t>(column)] : 0;
      ASSERT_EQ(packed.stored(row, column), q) << dtype_name(source) << " [" << matrix.n << ", " << matrix.k
                                               << "] at [" << row << ", " << column << "]";
    }
  }
}

TEST_P(PackRows, QuantisesWholeRowsToInt8AndZeroesThePadding) {
  for (const DType source : kSources) {
    for (const int64_t n : sizes({1, 63, 64, 65, 200}, {1, 64, 130})) {
      for (const int64_t k : sizes({1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 130, 257},
                                   {1, 2, 3, 4, 33, 64, 130, 257})) {
        std::vector<float> rows = random_floats(15, n * k, 100.0F);
        for (int64_t i = 0; i < k; ++i) rows[static_cast<size_t>(n / 2 * k + i)] *= 1e-3F;
        const Packed packed(device(), DType::i8, n, k);
        const auto stored = stored_as(source, rows);
        ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, stored.data(), source, nullptr), -1);
        expect_packed_int8(device(), packed.matrix(), source, rows);
      }
    }
  }
}

TEST_P(PackRows, Int8RowsOfZerosAndOfTheSmallestAndLargestNumbersKeepTheirSigns) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float huge = std::numeric_limits<float>::max();
  const std::vector<float> rows = {0,          0,          -0.0F, 0,        tiny, -tiny, 0,
                                   100 * tiny, 200 * tiny, -tiny, 3 * tiny, 0,    huge,  -huge,
                                   huge / 2,   1,          127,   0.5F,     1.5F, -2.5F};
  const Packed packed(device(), DType::i8, 5, 4);
  EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, 5, rows.data(), DType::f32, nullptr), -1);
  expect_packed_int8(device(), packed.matrix(), DType::f32, rows);
  const PackedOnHost on_host(device(), packed.matrix());
  EXPECT_EQ(on_host.at(4, 1), 0.0F) << "a half goes to the even neighbour";
  EXPECT_EQ(on_host.at(4, 2), 2.0F);
  EXPECT_EQ(on_host.at(4, 3), -2.0F);
}

TEST_P(PackRows, PiecesOfAnySizeMakeTheSameInt8MatrixAsOne) {
  const int64_t n = 203, k = 77;
  const std::vector<float> rows = random_floats(16, n * k);
  for (const int64_t piece : {1, 10, 64, 100, 190}) {
    const Packed packed(device(), DType::i8, n, k);
    for (int64_t row = 0; row < n; row += piece) {
      kernels().pack_rows(device(), packed.matrix(), row, std::min(piece, n - row), rows.data() + row * k,
                          DType::f32, nullptr);
    }
    expect_packed_int8(device(), packed.matrix(), DType::f32, rows);
  }
}

TEST_P(PackRows, StoredInt8RowsAndScalesAreKeptAsTheyAre) {
  for (const int64_t n : {1, 70, 130}) {
    for (const int64_t k : {1, 6, 64, 67, 300}) {
      std::vector<int8_t> stored(static_cast<size_t>(n * k));
      for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<int8_t>(mix(17, i) & 0xff);
      const std::vector<float> scales = random_floats(18, n, -1.0F);
      for (const int64_t piece : {n, int64_t{9}}) {
        std::vector<float> positive;
        for (const float scale : scales) positive.push_back(std::abs(scale));
        const Packed packed(device(), DType::i8, n, k);
        for (int64_t row = 0; row < n; row += piece) {
          ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), row, std::min(piece, n - row),
                                        stored.data() + row * k, DType::i8, positive.data() + row),
                    -1);
        }
        const PackedOnHost on_host(device(), packed.matrix());
        for (int64_t row = 0; row < n; ++row) {
          ASSERT_EQ(on_host.scale(row), positive[static_cast<size_t>(row)]);
          for (int64_t column = 0; column < k; ++column) {
            ASSERT_EQ(on_host.at(row, column),
                      static_cast<float>(stored[static_cast<size_t>(row * k + column)]) *
                          positive[static_cast<size_t>(row)]);
          }
        }
      }
    }
  }
}

TEST_P(PackRows, NamesTheRowOfTheFirstInt8ScaleThatIsNoScale) {
  const std::vector<int8_t> stored(100 * 6);
  for (const float scale : {NAN, INFINITY, -1.0F}) {
    std::vector<float> scales(100, 1.0F);
    scales[66] = scales[80] = scale;
    const Packed packed(device(), DType::i8, 100, 6);
    EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, 100, stored.data(), DType::i8, scales.data()),
              66 * 6);
  }
}

TEST_P(UnpackRows, GivesInt8ValuesTimesTheirScales) {
  for (const int64_t n : {5, 203}) {
    for (const int64_t k : {1, 7, 31, 32, 33, 64, 257}) {
      const std::vector<float> rows = random_floats(19, n * k);
      const Packed packed(device(), DType::i8, n, k, rows);
      std::vector<int32_t> asked = {static_cast<int32_t>(n - 1), 0, 1, 2, 3};
      if (n > 64) asked.insert(asked.end(), {62, 63, 64, 65, 66});
      const std::vector<float> got = unpack(packed.matrix(), asked);
      const PackedOnHost on_host(device(), packed.matrix());
      for (size_t i = 0; i < got.size(); ++i) {
        const auto column = static_cast<int64_t>(i) % k;
        ASSERT_EQ(got[i], on_host.at(asked[i / static_cast<size_t>(k)], column));
        ASSERT_NEAR(got[i], rows[static_cast<size_t>(asked[i / static_cast<size_t>(k)] * k + column)],
                    0.5 / 126);
      }
    }
  }
}

TEST_P(UnpackRows, GivesBackTheRowsAskedFor) {
  for (const DType dtype : kTargets) {
    for (const int64_t k : {1, 16, 45, 130}) {
      const int64_t n = 150;
      const std::vector<float> rows = random_floats(11, n * k);
      const Packed packed(device(), dtype, n, k, rows);
      const std::vector<int32_t> asked = {149, 0, 63, 64, 64, 100};
      const std::vector<float> got = unpack(packed.matrix(), asked);
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t row = static_cast<size_t>(asked[i / static_cast<size_t>(k)]);
        ASSERT_EQ(got[i], rounded_to(dtype, rows[row * static_cast<size_t>(k) + i % static_cast<size_t>(k)]));
      }
    }
  }
}

TEST_P(UnpackRows, GivesBackAnyRangeOfRowsAndNothingBeyond) {
  const int64_t n = 203;
  for (const DType dtype : kTargets) {
    for (const int64_t k : sizes({1, 7, 15, 16, 17, 31, 32, 33, 64, 257}, {1, 7, 16, 33, 64})) {
      const std::vector<float> rows = random_floats(13, n * k);
      const Packed packed(device(), dtype, n, k, rows);
      for (const int64_t first : sizes({0, 1, 15, 16, 63, 64, 100, 202}, {0, 1, 63, 202})) {
        for (const int64_t count : sizes({1, 2, 16, 64, 103, 203}, {1, 64, 103})) {
          const int64_t n_asked = std::min(count, n - first);
          std::vector<int32_t> asked(static_cast<size_t>(n_asked));
          std::iota(asked.begin(), asked.end(), static_cast<int32_t>(first));
          const std::vector<float> got = unpack(packed.matrix(), asked, 64);
          for (int64_t i = 0; i < n_asked * k; ++i) {
            ASSERT_EQ(got[static_cast<size_t>(i)],
                      rounded_to(dtype, rows[static_cast<size_t>(first * k + i)]))
                << dtype_name(dtype) << " k " << k << " from row " << first << ", element " << i;
          }
          for (int64_t i = 0; i < 64; ++i) ASSERT_EQ(got[static_cast<size_t>(n_asked * k + i)], -7.0F);
        }
      }
    }
  }
}

TEST_P(UnpackRows, NoRowsAreNothing) {
  const Packed packed(device(), DType::bf16, 3, 5, random_floats(14, 15));
  kernels().unpack_rows(device(), packed.matrix(), {}, nullptr);
}

TEST_P(FindNotFinite, FindsTheFirstOfManyInEveryType) {
  for (const DType dtype : kSources) {
    for (const int64_t n : sizes({1, 15, 16, 17, 1000, 300001}, {1, 15, 17, 1000, 30001})) {
      std::vector<float> values = random_floats(12, n);
      const auto clean = stored_as(dtype, values);
      EXPECT_EQ(find(clean, dtype, n), -1);
      for (const int64_t bad : {int64_t{0}, n / 2, n - 1}) {
        for (const float value : {NAN, INFINITY, -INFINITY}) {
          std::vector<float> broken = values;
          broken.back() = NAN;
          broken[static_cast<size_t>(bad)] = value;
          const auto stored = stored_as(dtype, broken);
          EXPECT_EQ(find(stored, dtype, n), bad) << dtype_name(dtype) << " " << n;
        }
      }
    }
  }
}

TEST_P(FindNotFinite, NothingHasNothingWrong) {
  EXPECT_EQ(kernels().find_not_finite(device(), nullptr, DType::f32, 0), -1);
}

}  // namespace
}  // namespace nanochat::testing
