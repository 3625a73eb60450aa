// Sources larger than what a device takes at once, and several threads that pack one matrix.
#include <numeric>
#include <thread>

#include "every_device.h"
#include "kernels/f8.h"

namespace nanochat::testing {
namespace {

class PackPieces : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(PackPieces);

std::vector<float> unpacked(Device& device, const PackedMatrix& w, std::vector<int32_t> rows) {
  DeviceArray<float> target(device, static_cast<int64_t>(rows.size()) * w.k, -7.0F);
  device.kernels().unpack_rows(device, w, rows, target.data());
  return target.to_host();
}

TEST_P(PackPieces, ASourceOfManyMegabytesIsPackedLikeASmallOne) {
  const int64_t n = 1100, k = 1024;
  std::vector<float> rows = random_floats(31, n * k);
  Packed packed(device(), DType::bf16, n, k);
  ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, rows.data(), DType::f32, nullptr), -1);
  const std::vector<float> got = unpacked(device(), packed.matrix(), {0, 500, 1023, 1024, 1099});
  size_t i = 0;
  for (const int64_t row : {0, 500, 1023, 1024, 1099}) {
    for (int64_t column = 0; column < k; ++column, ++i) {
      ASSERT_EQ(got[i], rounded_to(DType::bf16, rows[static_cast<size_t>(row * k + column)])) << row;
    }
  }
  rows[1090 * 1024 + 5] = rows[1080 * 1024 + 7] = NAN;
  EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, n, rows.data(), DType::f32, nullptr),
            1080 * 1024 + 7);
}

// f8_e4m3: all of a row decides its scale.
TEST_P(PackPieces, ARowOfManyMegabytesIsPackedLikeAShortOne) {
  const int64_t k = 1'150'016;
  std::vector<float> row = random_floats(32, k);
  row[1'100'000] = 9.0F;
  for (const DType dtype : {DType::bf16, DType::f8_e4m3}) {
    Packed packed(device(), dtype, 1, k);
    ASSERT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, 1, row.data(), DType::f32, nullptr), -1);
    const std::vector<float> got = unpacked(device(), packed.matrix(), {0});
    const float scale = f8_scale(9.0F);
    for (size_t i = 0; i < row.size(); ++i) {
      const float expected = dtype == DType::bf16 ? rounded_to(dtype, row[i])
                                                  : float_from_f8(f8_from_float(row[i] / scale)) * scale;
      ASSERT_EQ(got[i], expected) << i;
    }
    std::vector<float> broken = row;
    broken[1'120'000] = broken[1'120'001] = INFINITY;
    EXPECT_EQ(kernels().pack_rows(device(), packed.matrix(), 0, 1, broken.data(), DType::f32, nullptr),
              1'120'000);
  }
}

TEST_P(PackPieces, SeveralThreadsPackTheirRowsOfOneMatrix) {
  const int64_t n = 600, k = 80, n_parts = 6;
  const std::vector<float> rows = random_floats(33, n * k);
  std::vector<float> broken = rows;
  broken[450 * 80 + 3] = NAN;
  Packed packed(device(), DType::i8, n, k);
  const auto pack = [&](const std::vector<float>& source) {
    std::vector<int64_t> found(n_parts);
    std::vector<std::thread> threads;
    for (int64_t part = 0; part < n_parts; ++part) {
      threads.emplace_back([&, part] {
        const int64_t first = part * n / n_parts;
        found[static_cast<size_t>(part)] = kernels().pack_rows(
            device(), packed.matrix(), first, n / n_parts, source.data() + first * k, DType::f32, nullptr);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return found;
  };
  EXPECT_EQ(pack(broken), (std::vector<int64_t>{-1, -1, -1, -1, 50 * 80 + 3, -1}));
  EXPECT_EQ(pack(rows), std::vector<int64_t>(n_parts, -1));
  const auto oracle = make_device("reference");
  const Packed expected(*oracle, DType::i8, n, k, rows);
  std::vector<int32_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(unpacked(device(), packed.matrix(), all), unpacked(*oracle, expected.matrix(), all));
}

}  // namespace
}  // namespace nanochat::testing
