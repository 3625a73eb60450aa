#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

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

struct SineCosine {
  double sine, cosine;
  uint64_t is_cancelled;  // 1: so near to a quarter turn that few bits of the angle are left
};

// Of 0 <= angle < 2^20, to a few units of the last place unless cancelled. No branch and no call, so that a
// loop over it runs in vectors.
[[gnu::always_inline]] inline SineCosine sine_cosine(double angle) {
  // Quarter turns, nearest: the sum is so large that its last bit counts ones.
  constexpr double kRounder = 0x1.8p52;
  const double shifted = angle * (2.0 / std::numbers::pi) + kRounder;
  const double turns = shifted - kRounder;
  const auto quarter = std::bit_cast<uint64_t>(shifted);
  // pi / 2 as its first 31 bits, of which products with up to 2^20 turns are exact, and the rest.
  constexpr double kHalfPi = 0x1.921fb544p+0, kHalfPiRest = 0x1.0b4611a626331p-34;
  const double x = (angle - turns * kHalfPi) - turns * kHalfPiRest;
  const double y = x * x;
  // The reduction has an absolute error of 2^-67, next to which 2^-19 is large. Angles below 1 have none.
  const uint64_t is_small =
      ((std::bit_cast<uint64_t>(x) << 1) - (std::bit_cast<uint64_t>(0x1p-19) << 1)) >> 63;
  const uint64_t is_turned = (std::bit_cast<uint64_t>(1.0) - std::bit_cast<uint64_t>(angle)) >> 63;
  // Taylor: |x| < 0.79, the first terms left out are below 2^-58.
  double sine = 1.0 / 355687428096000.0, cosine = 1.0 / 20922789888000.0;
  sine = sine * y - 1.0 / 1307674368000.0;
  sine = sine * y + 1.0 / 6227020800.0;
  sine = sine * y - 1.0 / 39916800.0;
  sine = sine * y + 1.0 / 362880.0;
  sine = sine * y - 1.0 / 5040.0;
  sine = sine * y + 1.0 / 120.0;
  sine = sine * y - 1.0 / 6.0;
  sine = x + x * y * sine;
  cosine = cosine * y - 1.0 / 87178291200.0;
  cosine = cosine * y + 1.0 / 479001600.0;
  cosine = cosine * y - 1.0 / 3628800.0;
  cosine = cosine * y + 1.0 / 40320.0;
  cosine = cosine * y - 1.0 / 720.0;
  cosine = cosine * y + 1.0 / 24.0;
  cosine = cosine * y - 0.5;
  cosine = 1.0 + y * cosine;

  const auto sine_bits = std::bit_cast<uint64_t>(sine), cosine_bits = std::bit_cast<uint64_t>(cosine);
  const uint64_t swapped = (sine_bits ^ cosine_bits) & (0 - (quarter & 1));
  return {std::bit_cast<double>((sine_bits ^ swapped) ^ ((quarter & 2) << 62)),
          std::bit_cast<double>((cosine_bits ^ swapped) ^ (((quarter + 1) & 2) << 62)), is_small & is_turned};
}

// 1 when a number is so near to the middle of two floats that an error of 64 units of its last place could
// round it to the wrong one.
[[gnu::always_inline]] inline uint64_t is_near_tie(double value) {
  constexpr uint64_t kDropped = (uint64_t{1} << 29) - 1, kTie = uint64_t{1} << 28, kNear = 64;
  return (((std::bit_cast<uint64_t>(value) - kTie + kNear) & kDropped) - 2 * kNear) >> 63;
}

// cos and sin of position * frequency, correctly rounded.
void fill_row(int64_t position, std::span<const float> frequencies, float* cosines, float* sines) {
  constexpr float kLargest = 0x1p20F;
  uint64_t unsure = 0;
  const auto multiple = static_cast<float>(position);
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const SineCosine value = sine_cosine(static_cast<double>(multiple * frequencies[j]));
    unsure |= value.is_cancelled | is_near_tie(value.sine) | is_near_tie(value.cosine);
    cosines[j] = static_cast<float>(value.cosine);
    sines[j] = static_cast<float>(value.sine);
  }
  const float largest = multiple * std::max(frequencies.front(), frequencies.back());  // they are in order
  if (unsure == 0 && largest < kLargest) return;
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const auto angle = static_cast<double>(multiple * frequencies[j]);
    cosines[j] = static_cast<float>(std::cos(angle));
    sines[j] = static_cast<float>(std::sin(angle));
  }
}

void round_to_bf16(std::span<float> values) {
  for (float& value : values) value = float_from_bf16(bf16_from_float(value));
}

}  // namespace

void fill_rope_tables(Device& device, const ModelConfig& config, const Weights& weights, const Watch& watch) {
  constexpr int64_t kPositions = 256;
  const std::vector<float> frequencies = inverse_frequencies(config);
  const auto width = static_cast<int64_t>(frequencies.size());
  const float sign = config.rope_rotation_sign == -1 ? 1.0F : -1.0F;

  device.threads().parallel_for(weights.n_rope_positions, kPositions, [&](int64_t begin, int64_t end) {
    std::vector<float> cos_rows(static_cast<size_t>(kPositions * width)), sin_rows(cos_rows.size());
    for (int64_t first = begin; first < end; first += kPositions) {
      watch.check();
      const int64_t n = std::min(kPositions, end - first);
      for (int64_t i = 0; i < n; ++i) {
        fill_row(first + i, frequencies, cos_rows.data() + i * width, sin_rows.data() + i * width);
      }
      for (int64_t i = 0; i < n * width; ++i) sin_rows[static_cast<size_t>(i)] *= sign;
      if (config.rope_table_dtype == DType::bf16) {
        round_to_bf16(std::span(cos_rows).first(static_cast<size_t>(n * width)));
        round_to_bf16(std::span(sin_rows).first(static_cast<size_t>(n * width)));
      }
      const auto bytes = static_cast<size_t>(n * width) * sizeof(float);
      device.copy_to_device(const_cast<float*>(weights.rope_cos) + first * width, cos_rows.data(), bytes);
      device.copy_to_device(const_cast<float*>(weights.rope_sin) + first * width, sin_rows.data(), bytes);
    }
  });
}

}  // namespace nanochat
