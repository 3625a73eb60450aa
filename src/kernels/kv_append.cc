#include <algorithm>

#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

// Pages that the rows of one sequence reach into.
int64_t pages_of(const SequenceRows& rows) {
  return rows.n_rows <= 0 ? 0 : page_count(rows.position % kPagePositions + rows.n_rows);
}

// Rows that lie in page `index` of those, all heads.
void append_page(const SimdBodies& bodies, const SequenceRows& rows, int64_t index,
                 const AttentionShape& shape, const float* k, const float* v, int64_t ld) {
  const KvLayout layout = shape.kv_layout();
  const int64_t page_number = rows.position / kPagePositions + index;
  const int64_t first = std::max<int64_t>(0, page_number * kPagePositions - rows.position);
  const int64_t end = std::min(rows.n_rows, (page_number + 1) * kPagePositions - rows.position);
  std::byte* const page = rows.pages[page_number] + shape.layer_offset;
  const int64_t source = (rows.first_row + first) * ld;
  for (int64_t head = 0; head < shape.n_kv_head; ++head) {
    bodies.kv_append({.k = k + source + head * shape.head_dim,
                      .v = v + source + head * shape.head_dim,
                      .ld = ld,
                      .first_key = (rows.position + first) % kPagePositions,
                      .n_keys = end - first,
                      .head_dim = shape.head_dim,
                      .dtype = layout.dtype,
                      .k_page = page + layout.k_offset(head),
                      .v_page = page + layout.v_offset(head),
                      .k_scales = reinterpret_cast<float*>(page + layout.k_scale_offset(head)),
                      .v_scales = reinterpret_cast<float*>(page + layout.v_scale_offset(head))});
  }
}

}  // namespace

void kv_append(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* k, const float* v, int64_t ld) {
  const SimdBodies& bodies = bodies_of(device);
  int64_t n_pages = 0, n_rows = 0;
  for (const SequenceRows& rows : sequences) {
    n_pages += pages_of(rows);
    n_rows += rows.n_rows;
  }
  const int64_t bytes = n_rows * shape.n_kv_head * shape.head_dim * 16;
  split_work(device, n_pages, 1, bytes, [&](int64_t begin, int64_t end) {
    for (const SequenceRows& rows : sequences) {
      const int64_t n = pages_of(rows);
      for (int64_t index = std::max<int64_t>(0, begin); index < std::min(n, end); ++index) {
        append_page(bodies, rows, index, shape, k, v, ld);
      }
      begin -= n;
      end -= n;
    }
  });
}

}  // namespace nanochat::simd
