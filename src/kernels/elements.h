// One element of a plain array or a packed matrix, wherever speed does not matter.
#pragma once

#include <cstdint>

#include "tensor/kernels.h"

namespace nanochat {

// f32, bf16, f16, i8 or f8_e4m3 (as they are); anything else throws internal.
float element_at(const void* data, DType dtype, int64_t index);

inline bool is_finite(float value) { return (std::bit_cast<uint32_t>(value) & 0x7f800000U) != 0x7f800000U; }

// Index of element (row n, column k) in units of the matrix's dtype.
inline int64_t packed_index(const PackedMatrix& matrix, int64_t row, int64_t column) {
  const int64_t panel = row / PackedMatrix::kPanel;
  const int64_t lane = row % PackedMatrix::kPanel;
  if (matrix.dtype == DType::i8) {
    const int64_t start = panel * PackedMatrix::panel_bytes(DType::i8, matrix.k);
    return start + (column / 4 * PackedMatrix::kPanel + lane) * 4 + column % 4;
  }
  if (matrix.dtype == DType::f8_e4m3) {
    const int64_t start = panel * PackedMatrix::panel_bytes(DType::f8_e4m3, matrix.k);
    return start + (column / 2 * PackedMatrix::kPanel + lane) * 2 + column % 2;
  }
  if (matrix.dtype == DType::bf16) {
    const int64_t pairs = (matrix.k + 1) / 2;
    return ((panel * pairs + column / 2) * PackedMatrix::kPanel + lane) * 2 + column % 2;
  }
  return (panel * matrix.k + column) * PackedMatrix::kPanel + lane;
}

inline bool has_scales(DType dtype) { return dtype == DType::i8 || dtype == DType::f8_e4m3; }

// The scale of a row of i8 or f8_e4m3 weights.
inline float* packed_scale(const PackedMatrix& matrix, int64_t row) {
  const int64_t panel = row / PackedMatrix::kPanel;
  char* end =
      static_cast<char*>(matrix.data) + (panel + 1) * PackedMatrix::panel_bytes(matrix.dtype, matrix.k);
  return reinterpret_cast<float*>(end) - PackedMatrix::kPanel + row % PackedMatrix::kPanel;
}

float packed_at(const PackedMatrix& matrix, int64_t row, int64_t column);

// Columns a panel holds: k, and the padding to whole pairs and fours.
inline int64_t packed_columns(const PackedMatrix& matrix) {
  if (matrix.dtype == DType::i8) return (matrix.k + 3) / 4 * 4;
  const bool pairs = matrix.dtype == DType::bf16 || matrix.dtype == DType::f8_e4m3;
  return pairs ? (matrix.k + 1) / 2 * 2 : matrix.k;
}

}  // namespace nanochat
