// One element of a plain array or a packed matrix, wherever speed does not matter.
#pragma once

#include <cstdint>

#include "tensor/kernels.h"

namespace nanochat {

// f32, bf16 or f16; anything else throws internal.
float element_at(const void* data, DType dtype, int64_t index);

inline bool is_finite(float value) { return (std::bit_cast<uint32_t>(value) & 0x7f800000U) != 0x7f800000U; }

// Index of element (row n, column k) in units of the matrix's dtype.
inline int64_t packed_index(const PackedMatrix& matrix, int64_t row, int64_t column) {
  const int64_t panel = row / PackedMatrix::kPanel;
  const int64_t lane = row % PackedMatrix::kPanel;
  if (matrix.dtype == DType::bf16) {
    const int64_t pairs = (matrix.k + 1) / 2;
    return ((panel * pairs + column / 2) * PackedMatrix::kPanel + lane) * 2 + column % 2;
  }
  return (panel * matrix.k + column) * PackedMatrix::kPanel + lane;
}

float packed_at(const PackedMatrix& matrix, int64_t row, int64_t column);

// Columns a panel holds: k, and for bf16 the padding of an odd k.
inline int64_t packed_columns(const PackedMatrix& matrix) {
  return matrix.dtype == DType::bf16 ? (matrix.k + 1) / 2 * 2 : matrix.k;
}

}  // namespace nanochat
