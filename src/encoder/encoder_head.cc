#include "encoder/encoder_head.h"

#include <cmath>

namespace nanochat {

bool wants_unit(const Encoder& encoder, Normalization normalization) {
  if (normalization == Normalization::as_configured) return encoder.config().is_normalized;
  return normalization == Normalization::unit;
}

void normalize_rows(Device& device, float* rows, int64_t n_rows, int64_t width) {
  // Divided by the root of the sum of squares: by that of their mean, and of their number.
  constexpr float kEpsilon = 1e-30F;
  const float gain = 1.0F / std::sqrt(static_cast<float>(width));
  device.kernels().rms_norm(device, rows, width, rows, width, n_rows, 1, width, kEpsilon, gain, nullptr);
}

void VectorHead::apply(const EncoderLinear& linear, RowActivation activation) {
  float* const to = buffers_.vectors[vectors_ == buffers_.vectors[0] ? 1 : 0];
  const int64_t k = linear.matrix.k, n = linear.matrix.n;
  apply_linear(device_, linear, {vectors_, k, to, n, n_}, LinearOutput::store, activation);
  vectors_ = to;
  width_ = n;
}

float* VectorHead::write(bool is_unit, float* output) {
  if (is_unit) normalize_rows(device_, vectors_, n_, width_);
  device_.copy_to_host(output, vectors_, static_cast<size_t>(n_ * width_) * sizeof(float));
  return output + n_ * width_;
}

}  // namespace nanochat
