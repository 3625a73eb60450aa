#include <cstring>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

// Copies have no order to keep: this body serves every ISA.
void kv_append(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* k, const float* v, int64_t ld) {
  const auto head_bytes = static_cast<size_t>(shape.head_dim) * sizeof(float);
  const int64_t row_bytes = shape.n_kv_head * shape.head_dim * 16;
  for (const SequenceRows& sequence : sequences) {
    const auto append = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t head = 0; head < shape.n_kv_head; ++head) {
          const int64_t source = (sequence.first_row + i) * ld + head * shape.head_dim;
          const int64_t target = (head * sequence.capacity + sequence.position + i) * shape.head_dim;
          std::memcpy(sequence.k + target, k + source, head_bytes);
          std::memcpy(sequence.v + target, v + source, head_bytes);
        }
      }
    };
    split_work(device, sequence.n_rows, rows_per_piece(row_bytes), sequence.n_rows * row_bytes, append);
  }
}

}  // namespace nanochat::reference
