#include <bit>
#include <cmath>

#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

// Every value of a table (of each `step`-th frequency), against the sine and cosine of the C library in
// double precision.
void expect_correctly_rounded(const ModelConfig& config, int64_t step = 1) {
  const auto model = Model::create_random(make_device(), config, 1, {}, {});
  const Weights& weights = model->weights();
  const int64_t width = config.head_dim / 2;
  const float sign = config.rope_rotation_sign == -1 ? 1.0F : -1.0F;
  for (int64_t j = 0; j < width; j += step) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(config.head_dim);
    const float frequency =
        1.0F / static_cast<float>(std::pow(config.rope_base, static_cast<double>(exponent)));
    for (int64_t position = 0; position < weights.n_rope_positions; ++position) {
      const auto angle = static_cast<double>(static_cast<float>(position) * frequency);
      float cosine = static_cast<float>(std::cos(angle)), sine = sign * static_cast<float>(std::sin(angle));
      if (config.rope_table_dtype == DType::bf16) {
        cosine = float_from_bf16(bf16_from_float(cosine));
        sine = float_from_bf16(bf16_from_float(sine));
      }
      const int64_t at = position * width + j;
      ASSERT_EQ(std::bit_cast<uint32_t>(weights.rope_cos[at]), std::bit_cast<uint32_t>(cosine))
          << "cos of position " << position << ", frequency " << frequency;
      ASSERT_EQ(std::bit_cast<uint32_t>(weights.rope_sin[at]), std::bit_cast<uint32_t>(sine))
          << "sin of position " << position << ", frequency " << frequency;
    }
  }
}

TEST(RopeTable, IsCorrectlyRoundedForEveryBaseSignAndDtype) {
  for (const double base : {10000.0, 100000.0, 1000000.0}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const int sign : {-1, 1}) {
        ModelConfig config = nanochat_shape("v1-d1");
        config.rope_base = base;
        config.rope_table_dtype = dtype;
        config.rope_rotation_sign = sign;
        expect_correctly_rounded(config);
      }
    }
  }
}

TEST(RopeTable, IsCorrectlyRoundedFarFromTheStart) {
  ModelConfig config = nanochat_shape("v1-d1");
  config.sequence_len = 120000;  // the table ends past 2^20, where angles are reduced another way
  std::fill(config.window_left.begin(), config.window_left.end(), -1);
  expect_correctly_rounded(config, 21);
}

}  // namespace
}  // namespace nanochat::testing
