#include <cmath>

#include "base/error.h"
#include "model/weight_source.h"

namespace nanochat {

namespace {

// The reference computes in fp32: exponent, power, reciprocal and angle are each rounded to fp32. Power,
// cosine and sine come from double precision here, so that they are the correctly rounded ones on every
// machine.
std::vector<float> inverse_frequencies(const ModelConfig& config) {
  std::vector<float> frequencies(static_cast<size_t>(config.head_dim / 2));
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(config.head_dim);
    const auto power = static_cast<float>(std::pow(config.rope_base, static_cast<double>(exponent)));
    frequencies[j] = 1.0F / power;
  }
  return frequencies;
}

float as_stored(double value, DType dtype) {
  const auto rounded = static_cast<float>(value);
  return dtype == DType::bf16 ? float_from_bf16(bf16_from_float(rounded)) : rounded;
}

}  // namespace

void fill_rope_tables(Device& device, const ModelConfig& config, const Weights& weights, const Watch& watch) {
  constexpr int64_t kPositions = 256;
  const std::vector<float> frequencies = inverse_frequencies(config);
  const auto width = static_cast<int64_t>(frequencies.size());
  const double sign = config.rope_rotation_sign == -1 ? 1.0 : -1.0;

  device.threads().parallel_for(weights.n_rope_positions, kPositions, [&](int64_t begin, int64_t end) {
    std::vector<float> cos_rows(static_cast<size_t>(kPositions * width)), sin_rows(cos_rows.size());
    for (int64_t first = begin; first < end; first += kPositions) {
      watch.check();
      const int64_t n = std::min(kPositions, end - first);
      for (int64_t i = 0; i < n * width; ++i) {
        const auto at = static_cast<size_t>(i);
        const float angle =
            static_cast<float>(first + i / width) * frequencies[static_cast<size_t>(i % width)];
        cos_rows[at] = as_stored(std::cos(static_cast<double>(angle)), config.rope_table_dtype);
        sin_rows[at] = as_stored(sign * std::sin(static_cast<double>(angle)), config.rope_table_dtype);
      }
      const auto bytes = static_cast<size_t>(n * width) * sizeof(float);
      device.copy_to_device(const_cast<float*>(weights.rope_cos) + first * width, cos_rows.data(), bytes);
      device.copy_to_device(const_cast<float*>(weights.rope_sin) + first * width, sin_rows.data(), bytes);
    }
  });
}

}  // namespace nanochat
