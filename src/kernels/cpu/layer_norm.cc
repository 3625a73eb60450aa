#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

void layer_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
                int64_t width, float eps, const float* weight, const float* bias) {
  split_work(device, n_rows, rows_per_piece(width * 8), n_rows * width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* in = x + row * ldx;
      float* out = y + row * ldy;
      float sum = 0.0F, squares = 0.0F;
      for (int64_t i = 0; i < width; ++i) sum += in[i];
      const float mean = sum / static_cast<float>(width);
      for (int64_t i = 0; i < width; ++i) squares += (in[i] - mean) * (in[i] - mean);
      const float factor = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
      for (int64_t i = 0; i < width; ++i) {
        const float scaled = (in[i] - mean) * factor * (weight != nullptr ? weight[i] : 1.0F);
        out[i] = bias != nullptr ? scaled + bias[i] : scaled;
      }
    }
  });
}

}  // namespace nanochat::reference
