#include <algorithm>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

// Rows first..end-1 of a sequence, all in one page.
void append_rows(const SequenceRows& sequence, int64_t first, int64_t end, const AttentionShape& shape,
                 const float* k, const float* v, int64_t ld) {
  const KvLayout layout = shape.kv_layout();
  const int64_t position = sequence.position + first;
  std::byte* const page = sequence.pages[position / kPagePositions] + shape.layer_offset;
  for (int64_t head = 0; head < shape.n_kv_head; ++head) {
    auto* const keys = reinterpret_cast<float*>(page + layout.k_offset(head));
    auto* const values = reinterpret_cast<float*>(page + layout.v_offset(head));
    for (int64_t row = first; row < end; ++row) {
      const int64_t key = (sequence.position + row) % kPagePositions;
      const int64_t source = (sequence.first_row + row) * ld + head * shape.head_dim;
      for (int64_t i = 0; i < shape.head_dim; ++i) keys[layout.k_index(key, i)] = k[source + i];
      for (int64_t i = 0; i < shape.head_dim; ++i) values[layout.v_index(key, i)] = v[source + i];
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
