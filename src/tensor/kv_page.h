// Where things lie in a page of a KV cache: 64 positions of one sequence, all layers. A page is the block of
// keys that attention visits at once, and lies in memory as attention reads it. One layer has in turn
//
//   K of each head, a panel like those of PackedMatrix whose 64 outputs are the keys
//      f32: [head_dim][64]     bf16, i8: [ceil(head_dim/2)][64][2]: pairs of head_dim
//   V of each head
//      f32: [64][head_dim]     bf16, i8: [32][head_dim][2]: pairs of keys
//   i8 alone: the scales of K, then of V: fp32 [n_kv_head][64] each; a value is its int8 times its scale
//
// After the layers of a model with smear: its embeddings, fp32 [64][n_embd].
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace nanochat {

inline constexpr int64_t kPagePositions = 64;

inline constexpr int64_t page_count(int64_t n_positions) {
  return (n_positions + kPagePositions - 1) / kPagePositions;
}

// Offsets are bytes from the start of a layer's part; indices are elements from the start of a head's K or V.
struct KvLayout {
  DType dtype;  // f32, bf16 or i8
  int64_t n_kv_head, head_dim;

  int64_t element_bytes() const { return dtype == DType::f32 ? 4 : dtype == DType::bf16 ? 2 : 1; }
  int64_t padded_head_dim() const { return dtype == DType::f32 ? head_dim : (head_dim + 1) / 2 * 2; }
  int64_t k_head_bytes() const { return padded_head_dim() * kPagePositions * element_bytes(); }
  int64_t v_head_bytes() const { return head_dim * kPagePositions * element_bytes(); }
  int64_t scale_bytes() const { return dtype == DType::i8 ? kPagePositions * 4 : 0; }  // of a head's K or V

  int64_t k_offset(int64_t head) const { return head * k_head_bytes(); }
  int64_t v_offset(int64_t head) const { return n_kv_head * k_head_bytes() + head * v_head_bytes(); }
  int64_t k_scale_offset(int64_t head) const { return v_offset(n_kv_head) + head * scale_bytes(); }
  int64_t v_scale_offset(int64_t head) const { return k_scale_offset(n_kv_head) + head * scale_bytes(); }
  int64_t layer_bytes() const { return v_scale_offset(n_kv_head); }

  // key: 0..63, position in the page.
  int64_t k_index(int64_t key, int64_t i) const {
    return dtype == DType::f32 ? i * kPagePositions + key : (i / 2 * kPagePositions + key) * 2 + i % 2;
  }
  int64_t v_index(int64_t key, int64_t i) const {
    return dtype == DType::f32 ? key * head_dim + i : (key / 2 * head_dim + i) * 2 + key % 2;
  }
};

}  // namespace nanochat
