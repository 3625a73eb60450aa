#include "kernels/rates.h"
#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

void embed(Device& device, const void* table, DType dtype, std::span<const int32_t> ids, int64_t width,
           float* target) {
  const SimdBodies& bodies = bodies_of(device);
  const auto n_rows = static_cast<int64_t>(ids.size());
  split_work(device, n_rows, rows_per_piece(width * 8), n_rows * width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      bodies.widen(table, dtype, ids[static_cast<size_t>(row)] * width, width, target + row * width);
    }
  });
}

void rms_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
              int64_t n_groups, int64_t width, float eps, float gain, const float* weight) {
  const SimdBodies& bodies = bodies_of(device);
  const int64_t row_bytes = n_groups * width * 8;
  split_work(device, n_rows, rows_per_piece(row_bytes), n_rows * row_bytes, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t group = 0; group < n_groups; ++group) {
        bodies.rms_norm(x + row * ldx + group * width, y + row * ldy + group * width, width, eps, gain,
                        weight);
      }
    }
  });
}

void layer_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
                int64_t width, float eps, const float* weight, const float* bias) {
  const SimdBodies& bodies = bodies_of(device);
  split_work(device, n_rows, rows_per_piece(width * 8), n_rows * width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      bodies.layer_norm(x + row * ldx, y + row * ldy, width, eps, weight, bias);
    }
  });
}

void rope(Device& device, float* x, int64_t ldx, std::span<const int32_t> positions, int64_t n_heads,
          int64_t head_dim, const float* cos, const float* sin) {
  const SimdBodies& bodies = bodies_of(device);
  const auto n_rows = static_cast<int64_t>(positions.size());
  const int64_t row_bytes = n_heads * head_dim * 8;
  split_work(device, n_rows, rows_per_piece(row_bytes), n_rows * row_bytes, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t angle = positions[static_cast<size_t>(row)] * (head_dim / 2);
      bodies.rope(x + row * ldx, n_heads, head_dim, cos + angle, sin + angle);
    }
  });
}

void value_embedding(Device& device, std::span<const int32_t> ids, const void* table, DType dtype,
                     const float* gate, int64_t n_channels, float scale, const float* x, int64_t ldx,
                     float* v, int64_t ldv, int64_t n_kv_head, int64_t head_dim) {
  const SimdBodies& bodies = bodies_of(device);
  const ValueEmbeddingTask task{.ids = ids.data(),
                                .table = table,
                                .dtype = dtype,
                                .gate = gate,
                                .n_channels = n_channels,
                                .scale = scale,
                                .x = x,
                                .ldx = ldx,
                                .v = v,
                                .ldv = ldv,
                                .n_kv_head = n_kv_head,
                                .head_dim = head_dim};
  const auto n_rows = static_cast<int64_t>(ids.size());
  const int64_t row_bytes = n_kv_head * head_dim * 12;
  split_work(device, n_rows, rows_per_piece(row_bytes), n_rows * row_bytes,
             [&](int64_t begin, int64_t end) { bodies.value_embedding(task, begin, end); });
}

void smear(Device& device, std::span<const SequenceRows> sequences, const float* gate, int64_t n_channels,
           float lambda, const float* x, float* y, int64_t width) {
  const SimdBodies& bodies = bodies_of(device);
  for (const SequenceRows& sequence : sequences) {
    const auto rows = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = sequence.first_row + i;
        const float* now = x + row * width;
        const float* before = i == 0 ? sequence.previous : now - width;
        if (before == nullptr) {
          std::copy_n(now, width, y + row * width);
        } else {
          bodies.smear(gate, n_channels, lambda, now, before, y + row * width, width);
        }
      }
    };
    split_work(device, sequence.n_rows, rows_per_piece(width * 12), sequence.n_rows * width * 12, rows);
  }
}

MeasuredRates measure_rates(Device& device) {
  const SimdBodies& bodies = bodies_of(device);
  return measure_rates_with(
      device, {bodies.f32_multiply_add, bodies.bf16_multiply_add, bodies.int8_multiply_add, bodies.sum});
}

}  // namespace nanochat::simd
