#include "every_device.h"

namespace nanochat::testing {
namespace {

class RmsNorm : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(RmsNorm);
class LayerNorm : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(LayerNorm);
class LayerNormOnThreads : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(LayerNormOnThreads);
class PoolRows : public EveryDevice {
 protected:
  std::vector<float> pool(const std::vector<RowRange>& ranges, const std::vector<float>& rows, int64_t ldx,
                          int64_t width, RowPooling pooling) {
    const auto x = on_device(rows);
    DeviceArray<float> y(device(), std::ssize(ranges) * width, 7.0F);
    kernels().pool_rows(device(), ranges, x.data(), ldx, width, pooling, y.data());
    return y.to_host();
  }
};
NANOCHAT_ON_EVERY_DEVICE(PoolRows);
class Rope : public EveryDevice {
 protected:
  std::vector<float> turn(const std::vector<float>& rows, int64_t ldx, std::span<const int32_t> positions,
                          int64_t n_heads, int64_t head_dim, const std::vector<float>& cos,
                          const std::vector<float>& sin) {
    auto x = on_device(rows);
    const auto c = on_device(cos), s = on_device(sin);
    kernels().rope(device(), x.data(), ldx, positions, n_heads, head_dim, c.data(), s.data());
    return x.to_host();
  }
};
NANOCHAT_ON_EVERY_DEVICE(Rope);
class Embed : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(Embed);
class ValueEmbedding : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(ValueEmbedding);
class Smear : public EveryDevice {
 protected:
  std::vector<float> smear(const std::vector<SequenceRows>& sequences, const std::vector<float>& gate,
                           float lambda, const std::vector<float>& rows, int64_t width) {
    const auto x = on_device(rows), g = on_device(gate);
    DeviceArray<float> y(device(), x.size());
    kernels().smear(device(), sequences, g.data(), g.size(), lambda, x.data(), y.data(), width);
    return y.to_host();
  }
};
NANOCHAT_ON_EVERY_DEVICE(Smear);

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

TEST_P(RmsNorm, AgreesWithTheOracleForEveryWidthGroupAndWeight) {
  for (const int64_t width : {1, 8, 20, 64, 128, 333, 1280}) {
    for (const int64_t n_groups : {1, 3}) {
      for (const bool weighted : {false, true}) {
        const int64_t n_rows = 5, ldx = n_groups * width + 3, ldy = n_groups * width + 1;
        const std::vector<float> x = random_floats(1, n_rows * ldx, 4.0F), weight = random_floats(2, width);
        const auto rows = on_device(x), weights = on_device(weight);
        DeviceArray<float> normed(device(), n_rows * ldy, 7.0F);
        kernels().rms_norm(device(), rows.data(), ldx, normed.data(), ldy, n_rows, n_groups, width, 1e-5F,
                           1.2F, weighted ? weights.data() : nullptr);
        const std::vector<float> y = normed.to_host();
        for (int64_t i = 0; i < n_rows * ldy; ++i) {
          const int64_t row = i / ldy, column = i % ldy;
          if (column >= n_groups * width) {
            ASSERT_EQ(y[static_cast<size_t>(i)], 7.0F);
            continue;
          }
          const float* group = x.data() + row * ldx + column / width * width;
          const double mean = dot(group, group, width) / static_cast<double>(width);
          const double factor = static_cast<double>(1.2F) / std::sqrt(mean + static_cast<double>(1e-5F)) *
                                (weighted ? weight[static_cast<size_t>(column % width)] : 1.0F);
          const double expected = factor * group[column % width];
          // Half an ulp for each of mean (twice, under the root), root, division and two products, and the
          // sum's walk.
          const double roundings = 6 + std::sqrt(static_cast<double>(width));
          ASSERT_NEAR(y[static_cast<size_t>(i)], expected, roundings * 0x1p-24 * std::abs(expected)) << width;
        }
      }
    }
  }
}

TEST_P(RmsNorm, InPlaceAndAloneGivesTheSameBitsAsAmongOthers) {
  const int64_t width = 1280, n_rows = 200;
  const auto x = on_device(random_floats(3, n_rows * width));
  auto in_place = on_device(random_floats(3, n_rows * width));
  kernels().rms_norm(device(), in_place.data(), width, in_place.data(), width, n_rows, 1, width, 1e-6F, 1.0F,
                     nullptr);
  const std::vector<float> y = in_place.to_host();
  for (const int64_t row : {0, 1, 99, 199}) {
    DeviceArray<float> alone(device(), width);
    kernels().rms_norm(device(), x.data() + row * width, width, alone.data(), width, 1, 1, width, 1e-6F, 1.0F,
                       nullptr);
    EXPECT_TRUE(same_bits(alone.to_host().data(), y.data() + row * width, width)) << row;
  }
}

TEST_P(RmsNorm, ARowOfZerosStaysZero) {
  DeviceArray<float> x(device(), 64, 0.0F);
  kernels().rms_norm(device(), x.data(), 64, x.data(), 64, 1, 1, 64, 1e-6F, 1.0F, nullptr);
  for (const float value : x.to_host()) EXPECT_EQ(value, 0.0F);
}

// Rows around `offset`, which the variance must not see.
void check_layer_norm(Device& device, int64_t width, bool weighted, bool biased, float offset) {
  const int64_t n_rows = 4, ldx = width + 3, ldy = width + 1;
  std::vector<float> x = random_floats(1, n_rows * ldx, 4.0F);
  for (float& value : x) value += offset;
  const std::vector<float> weight = random_floats(2, width), bias = random_floats(3, width);
  const DeviceArray<float> rows(device, x), weights(device, weight), biases(device, bias);
  DeviceArray<float> normed(device, n_rows * ldy, 7.0F);
  device.kernels().layer_norm(device, rows.data(), ldx, normed.data(), ldy, n_rows, width, 1e-5F,
                              weighted ? weights.data() : nullptr, biased ? biases.data() : nullptr);
  const std::vector<float> y = normed.to_host();
  for (int64_t row = 0; row < n_rows; ++row) {
    const float* in = x.data() + row * ldx;
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < width; ++i) mean += in[i] / static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) variance += std::pow(in[i] - mean, 2) / static_cast<double>(width);
    const double factor = 1 / std::sqrt(variance + static_cast<double>(1e-5F));
    for (int64_t i = 0; i < width; ++i) {
      const double gain = factor * (weighted ? weight[static_cast<size_t>(i)] : 1.0F);
      const double shift = biased ? bias[static_cast<size_t>(i)] : 0.0F;
      const double expected = (in[i] - mean) * gain + shift;
      // The mean is off by the walk of its sum, the rest by a few roundings of its own size.
      const double walk = (2 + std::sqrt(static_cast<double>(width))) * 0x1p-24;
      const double error = walk * (std::abs(gain) * (4 + std::abs(offset)) + std::abs(expected)) +
                           8 * 0x1p-24 * (std::abs(expected) + std::abs(shift));
      ASSERT_NEAR(y[static_cast<size_t>(row * ldy + i)], expected, error) << width << " offset " << offset;
    }
    ASSERT_EQ(y[static_cast<size_t>(row * ldy + width)], 7.0F);
  }
}

TEST_P(LayerNorm, AgreesWithTheOracleForEveryWidthWeightBiasAndMean) {
  for (const int64_t width : {2, 8, 15, 20, 64, 100, 333, 384, 1024, 8320}) {
    for (const bool weighted : {false, true}) {
      for (const bool biased : {false, true}) {
        for (const float offset : {0.0F, 50.0F}) check_layer_norm(device(), width, weighted, biased, offset);
      }
    }
  }
}

constexpr int64_t kManyRows = 200, kRowWidth = 1030;

// Rows first.. of the same 200, in place.
std::vector<float> layer_norm_in_place(Device& device, int64_t first, int64_t n_rows) {
  const std::vector<float> all = random_floats(3, kManyRows * kRowWidth);
  const auto begin = all.begin() + first * kRowWidth;
  DeviceArray<float> x(device, {begin, begin + n_rows * kRowWidth});
  const DeviceArray<float> weight(device, random_floats(4, kRowWidth));
  device.kernels().layer_norm(device, x.data(), kRowWidth, x.data(), kRowWidth, n_rows, kRowWidth, 1e-6F,
                              weight.data(), weight.data());
  return x.to_host();
}

TEST_P(LayerNorm, InPlaceAndAloneGivesTheSameBitsAsAmongOthers) {
  const std::vector<float> y = layer_norm_in_place(device(), 0, kManyRows);
  for (const int64_t row : {0, 1, 99, 199}) {
    const std::vector<float> alone = layer_norm_in_place(device(), row, 1);
    EXPECT_TRUE(same_bits(alone.data(), y.data() + row * kRowWidth, kRowWidth)) << row;
  }
}

TEST_P(LayerNormOnThreads, EveryNumberOfThreadsGivesTheSameBits) {
  const std::vector<float> y = layer_norm_in_place(device(), 0, kManyRows);
  for (const int n_threads : {1, 3}) {
    const auto other = make_device(GetParam(), n_threads);
    EXPECT_TRUE(same_bits(layer_norm_in_place(*other, 0, kManyRows).data(), y.data(), std::ssize(y)));
  }
}

TEST_P(LayerNorm, ARowOfOneValueBecomesItsBias) {
  DeviceArray<float> x(device(), 64, 3.0F);
  const std::vector<float> values = random_floats(5, 64);
  const auto bias = on_device(values);
  kernels().layer_norm(device(), x.data(), 64, x.data(), 64, 1, 64, 1e-12F, nullptr, bias.data());
  EXPECT_EQ(x.to_host(), values);
}

TEST_P(PoolRows, GivesTheMeanInDoubleAndTheLargestOfEachRange) {
  for (const int64_t width : {1, 16, 255, 256, 257, 1000}) {
    const int64_t n_rows = 60, ldx = width + 2;
    const std::vector<float> x = random_floats(20, n_rows * ldx, 5.0F);
    const std::vector<RowRange> ranges = {{0, 1}, {59, 1}, {3, 40}, {10, 0}, {3, 57}};
    const std::vector<float> mean = pool(ranges, x, ldx, width, RowPooling::mean),
                             largest = pool(ranges, x, ldx, width, RowPooling::max);
    for (size_t i = 0; i < mean.size(); ++i) {
      const RowRange& range = ranges[i / static_cast<size_t>(width)];
      const int64_t column = static_cast<int64_t>(i) % width;
      double sum = 0;
      float most = range.n == 0 ? 0.0F : -INFINITY;
      for (int64_t row = range.first; row < range.first + range.n; ++row) {
        sum += x[static_cast<size_t>(row * ldx + column)];
        most = std::max(most, x[static_cast<size_t>(row * ldx + column)]);
      }
      ASSERT_EQ(mean[i], range.n == 0 ? 0.0F : static_cast<float>(sum / static_cast<double>(range.n)));
      ASSERT_EQ(largest[i], most);
    }
  }
}

TEST_P(PoolRows, NotANumberMakesItsColumnNotANumber) {
  for (const int64_t bad : {0, 1, 2}) {
    std::vector<float> x = random_floats(21, 3 * 20);
    x[static_cast<size_t>(bad * 20 + 4)] = NAN;
    const std::vector<RowRange> ranges = {{0, 3}};
    for (const RowPooling pooling : {RowPooling::mean, RowPooling::max}) {
      const std::vector<float> y = pool(ranges, x, 20, 20, pooling);
      for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == 4);
    }
  }
}

TEST_P(Rope, TurnsEachHalfSplitPairByItsPositionsAngle) {
  for (const int64_t head_dim : {2, 8, 20, 64, 96, 128}) {
    const int64_t n_heads = 3, half = head_dim / 2, ldx = n_heads * head_dim + 5;
    const std::vector<float> cos = random_floats(4, 40 * half), sin = random_floats(5, 40 * half);
    const std::vector<int32_t> positions = {0, 1, 39, 7, 7};
    const std::vector<float> x = random_floats(6, static_cast<int64_t>(positions.size()) * ldx);
    const std::vector<float> y = turn(x, ldx, positions, n_heads, head_dim, cos, sin);
    for (size_t i = 0; i < y.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / ldx, column = static_cast<int64_t>(i) % ldx;
      if (column >= n_heads * head_dim) {
        ASSERT_EQ(y[i], x[i]);
        continue;
      }
      const int64_t pair = column % head_dim % half;
      const auto angle = static_cast<size_t>(positions[static_cast<size_t>(row)] * half + pair);
      const auto first = static_cast<size_t>(row * ldx + column / head_dim * head_dim + pair);
      const double x1 = x[first], x2 = x[first + static_cast<size_t>(half)], c = cos[angle], s = sin[angle];
      const double expected = column % head_dim < half ? x1 * c + x2 * s : x2 * c - x1 * s;
      ASSERT_NEAR(y[i], expected, 2 * 0x1p-24 * (std::abs(x1) + std::abs(x2))) << head_dim;
    }
  }
}

TEST_P(Rope, ARowHasTheSameBitsAloneAndAmongOthers) {
  const int64_t n_rows = 300, width = 4 * 128;
  const std::vector<float> cos = random_floats(7, n_rows * 64), sin = random_floats(8, n_rows * 64);
  std::vector<int32_t> positions(static_cast<size_t>(n_rows));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  const std::vector<float> x = random_floats(9, n_rows * width);
  const std::vector<float> y = turn(x, width, positions, 4, 128, cos, sin);
  const std::vector<float> alone = turn({x.begin() + 211 * width, x.begin() + 212 * width}, width,
                                        std::span(positions).subspan(211, 1), 4, 128, cos, sin);
  EXPECT_TRUE(same_bits(alone.data(), y.data() + 211 * width, width));
}

TEST_P(Embed, CopiesTheRowsOfItsIdsFromEveryType) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t width : {1, 16, 31, 33, 1280}) {
      const std::vector<float> table = random_floats(10, 50 * width);
      const auto stored = on_device(stored_as(dtype, table));
      const std::vector<int32_t> ids = {49, 0, 3, 3, 17};
      DeviceArray<float> rows(device(), std::ssize(ids) * width);
      kernels().embed(device(), stored.data(), dtype, ids, width, rows.data());
      const std::vector<float> y = rows.to_host();
      for (size_t i = 0; i < y.size(); ++i) {
        const auto row = static_cast<size_t>(ids[i / static_cast<size_t>(width)]);
        ASSERT_EQ(y[i], rounded_to(dtype,
                                   table[row * static_cast<size_t>(width) + i % static_cast<size_t>(width)]));
      }
    }
  }
}

TEST_P(ValueEmbedding, AddsTheGatedRowOfTheTokensTable) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t head_dim : {8, 20, 128}) {
      const int64_t n_kv = 3, channels = 12, n_rows = 6, width = n_kv * head_dim, ldx = 40, ldv = width + 9;
      const std::vector<float> table = random_floats(11, 20 * width),
                               gate = random_floats(12, n_kv * channels, 3.0F);
      const std::vector<float> x = random_floats(13, n_rows * ldx), before = random_floats(14, n_rows * ldv);
      const std::vector<int32_t> ids = {0, 19, 5, 5, 1, 2};
      const auto stored = on_device(stored_as(dtype, table));
      const auto gates = on_device(gate), rows = on_device(x);
      auto added = on_device(before);
      kernels().value_embedding(device(), ids, stored.data(), dtype, gates.data(), channels, 3.0F,
                                rows.data(), ldx, added.data(), ldv, n_kv, head_dim);
      const std::vector<float> v = added.to_host();
      for (int64_t i = 0; i < n_rows * ldv; ++i) {
        const int64_t row = i / ldv, column = i % ldv;
        const auto at = static_cast<size_t>(i);
        if (column >= width) {
          ASSERT_EQ(v[at], before[at]);
          continue;
        }
        const double g =
            3 * sigmoid(dot(gate.data() + column / head_dim * channels, x.data() + row * ldx, channels));
        const double entry =
            rounded_to(dtype, table[static_cast<size_t>(ids[static_cast<size_t>(row)] * width + column)]);
        ASSERT_NEAR(v[at], before[at] + g * entry, 2e-6) << dtype_name(dtype);
      }
    }
  }
}

SequenceRows sequence_of(int64_t first_row, int64_t n_rows, const float* previous) {
  return {.first_row = first_row,
          .n_rows = n_rows,
          .position = previous == nullptr ? 0 : 5,
          .pages = nullptr,
          .previous = previous};
}

TEST_P(Smear, MixesInTheRowBeforeOfTheSameSequence) {
  for (const int64_t width : {24, 33, 1280}) {
    const int64_t channels = 24, n_rows = 9;
    const std::vector<float> x = random_floats(15, n_rows * width), gate = random_floats(16, channels, 2.0F);
    const std::vector<float> previous = random_floats(17, width);
    const auto last = on_device(previous);
    const std::vector<float> y =
        smear({sequence_of(0, 4, nullptr), sequence_of(4, 1, last.data()), sequence_of(5, 4, last.data())},
              gate, 0.7F, x, width);
    for (int64_t i = 0; i < n_rows * width; ++i) {
      const int64_t row = i / width;
      const float* now = x.data() + row * width;
      const float* before = row == 0 ? nullptr : row == 4 || row == 5 ? previous.data() : now - width;
      const double g = static_cast<double>(0.7F) * sigmoid(dot(gate.data(), now, channels));
      const double expected = now[i % width] + (before != nullptr ? g * before[i % width] : 0.0);
      ASSERT_NEAR(y[static_cast<size_t>(i)], expected, 1e-6) << width << " row " << row;
    }
  }
}

TEST_P(Smear, ASequenceFedInPiecesHasTheSameBits) {
  const int64_t width = 768, n_rows = 150;
  const std::vector<float> x = random_floats(18, n_rows * width), gate = random_floats(19, 24);
  const std::vector<float> whole = smear({sequence_of(0, n_rows, nullptr)}, gate, 0.5F, x, width);
  const auto rows = on_device(x);
  for (int64_t row = 0; row < n_rows; row += 50) {
    const SequenceRows part = sequence_of(0, 50, row == 0 ? nullptr : rows.data() + (row - 1) * width);
    const auto begin = x.begin() + row * width;
    const std::vector<float> piece = smear({part}, gate, 0.5F, {begin, begin + 50 * width}, width);
    EXPECT_TRUE(same_bits(whole.data() + row * width, piece.data(), 50 * width)) << row;
  }
}

}  // namespace
}  // namespace nanochat::testing
