#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

void rms_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
              int64_t n_groups, int64_t width, float eps, float gain, const float* weight) {
  const int64_t grain = rows_per_piece(n_groups * width * 8);
  split_work(device, n_rows, grain, n_rows * n_groups * width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin * n_groups; group < end * n_groups; ++group) {
      const float* in = x + group / n_groups * ldx + group % n_groups * width;
      float* out = y + group / n_groups * ldy + group % n_groups * width;
      float sum = 0.0F;
      for (int64_t i = 0; i < width; ++i) sum += in[i] * in[i];
      const float factor = gain / std::sqrt(sum / static_cast<float>(width) + eps);
      for (int64_t i = 0; i < width; ++i) out[i] = in[i] * factor * (weight != nullptr ? weight[i] : 1.0F);
    }
  });
}

}  // namespace nanochat::reference
