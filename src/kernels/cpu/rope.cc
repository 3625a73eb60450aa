#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

void rope(Device& device, float* x, int64_t ldx, std::span<const int32_t> positions, int64_t n_heads,
          int64_t head_dim, const float* cos, const float* sin) {
  const auto n_rows = static_cast<int64_t>(positions.size());
  const int64_t half = head_dim / 2;
  const int64_t row_bytes = n_heads * head_dim * 8;
  split_work(device, n_rows, rows_per_piece(row_bytes), n_rows * row_bytes, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* c = cos + positions[static_cast<size_t>(row)] * half;
      const float* s = sin + positions[static_cast<size_t>(row)] * half;
      for (int64_t head = 0; head < n_heads; ++head) {
        float* x1 = x + row * ldx + head * head_dim;
        float* x2 = x1 + half;
        for (int64_t i = 0; i < half; ++i) {
          const float a = x1[i], b = x2[i];
          x1[i] = a * c[i] + b * s[i];
          x2[i] = b * c[i] - a * s[i];
        }
      }
    }
  });
}

}  // namespace nanochat::reference
