#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/elements.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

void value_embedding(Device& device, std::span<const int32_t> ids, const void* table, DType dtype,
                     const float* gate, int64_t n_channels, float scale, const float* x, int64_t ldx,
                     float* v, int64_t ldv, int64_t n_kv_head, int64_t head_dim) {
  const auto n_rows = static_cast<int64_t>(ids.size());
  const int64_t width = n_kv_head * head_dim;
  split_work(device, n_rows, rows_per_piece(width * 12), n_rows * width * 12,
             [&](int64_t begin, int64_t end) {
               for (int64_t row = begin; row < end; ++row) {
                 const int64_t id = ids[static_cast<size_t>(row)];
                 for (int64_t head = 0; head < n_kv_head; ++head) {
                   float sum = 0.0F;
                   for (int64_t i = 0; i < n_channels; ++i)
                     sum += gate[head * n_channels + i] * x[row * ldx + i];
                   const float factor = scale / (1.0F + std::exp(-sum));
                   for (int64_t i = head * head_dim; i < (head + 1) * head_dim; ++i) {
                     v[row * ldv + i] += factor * element_at(table, dtype, id * width + i);
                   }
                 }
               }
             });
}

}  // namespace nanochat::reference
