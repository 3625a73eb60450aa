#include <algorithm>
#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

// For int8: the largest magnitude / 127; below 1e-30 zero; not a number if a value is not finite.
float scale_of(const float* row, int64_t n) {
  float largest = 0.0F;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(row[i])) return NAN;
    largest = std::max(largest, std::abs(row[i]));
  }
  return largest < 1e-30F ? 0.0F : largest / 127.0F;
}

// One row of K or V at places that `index` gives; `scale`: where its scale goes, for int8.
template <class Index>
void store_row(const float* row, int64_t n, DType dtype, std::byte* page, float* scale, Index index) {
  float inverse = 0.0F;
  if (dtype == DType::i8) {
    *scale = scale_of(row, n);
    if (*scale > 0.0F) inverse = 1.0F / *scale;
  }
  for (int64_t i = 0; i < n; ++i) {
    if (dtype == DType::f32) reinterpret_cast<float*>(page)[index(i)] = row[i];
    if (dtype == DType::bf16) reinterpret_cast<uint16_t*>(page)[index(i)] = bf16_from_float(row[i]);
    if (dtype == DType::i8) {
      const float value = inverse > 0.0F ? std::nearbyint(row[i] * inverse) : 0.0F;
      reinterpret_cast<int8_t*>(page)[index(i)] = static_cast<int8_t>(value);
    }
  }
}

// Rows first..end-1 of a sequence, all in one page.
void append_rows(const SequenceRows& sequence, int64_t first, int64_t end, const AttentionShape& shape,
                 const float* k, const float* v, int64_t ld) {
  const KvLayout layout = shape.kv_layout();
  std::byte* const page = sequence.pages[(sequence.position + first) / kPagePositions] + shape.layer_offset;
  for (int64_t head = 0; head < shape.n_kv_head; ++head) {
    std::byte* const keys = page + layout.k_offset(head);
    auto* const k_scales = reinterpret_cast<float*>(page + layout.k_scale_offset(head));
    auto* const v_scales = reinterpret_cast<float*>(page + layout.v_scale_offset(head));
    for (int64_t row = first; row < end; ++row) {
      const int64_t key = (sequence.position + row) % kPagePositions;
      const int64_t source = (sequence.first_row + row) * ld + head * shape.head_dim;
      store_row(k + source, shape.head_dim, layout.dtype, keys, k_scales + key,
                [&](int64_t i) { return layout.k_index(key, i); });
      store_row(v + source, shape.head_dim, layout.dtype, page + layout.v_offset(head), v_scales + key,
                [&](int64_t i) { return layout.v_index(key, i); });
      if (shape.head_dim % 2 == 1 && layout.dtype != DType::f32) {  // the pair of the last one
        const int64_t pad = layout.k_index(key, shape.head_dim) * layout.element_bytes();
        std::fill_n(keys + pad, layout.element_bytes(), std::byte{0});
      }
    }
  }
}

}  // namespace

void kv_append(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* k, const float* v, int64_t ld) {
  const int64_t row_bytes = shape.n_kv_head * shape.head_dim * 16;
  for (const SequenceRows& sequence : sequences) {
    // Pieces end where pages end.
    const int64_t before = sequence.position % kPagePositions;
    const int64_t n_pages = page_count(before + sequence.n_rows);
    split_work(device, n_pages, 1, sequence.n_rows * row_bytes, [&](int64_t begin, int64_t end) {
      for (int64_t page = begin; page < end; ++page) {
        const int64_t first = std::max<int64_t>(0, page * kPagePositions - before);
        const int64_t last = std::min(sequence.n_rows, (page + 1) * kPagePositions - before);
        append_rows(sequence, first, last, shape, k, v, ld);
      }
    });
  }
}

}  // namespace nanochat::reference
