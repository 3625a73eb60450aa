#include "kernels/elements.h"

#include "base/error.h"

namespace nanochat {

float element_at(const void* data, DType dtype, int64_t index) {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(data)[index];
    case DType::bf16:
      return float_from_bf16(static_cast<const uint16_t*>(data)[index]);
    case DType::f16:
      return float_from_f16(static_cast<const uint16_t*>(data)[index]);
    case DType::i8:
      return static_cast<const int8_t*>(data)[index];
    case DType::f8_e4m3:
      return float_from_f8(static_cast<const uint8_t*>(data)[index]);
    default:
      throw Error(Status::internal).say("a kernel was given elements of type {}", dtype_name(dtype));
  }
}

float packed_at(const PackedMatrix& matrix, int64_t row, int64_t column) {
  const int64_t index = packed_index(matrix, row, column);
  if (matrix.dtype == DType::f8_e4m3) {
    return element_at(matrix.data, matrix.dtype, index) * *packed_scale(matrix, row);
  }
  if (matrix.dtype != DType::i8) return element_at(matrix.data, matrix.dtype, index);
  const int32_t biased = static_cast<const uint8_t*>(matrix.data)[index];
  return static_cast<float>(biased - 128) * *packed_scale(matrix, row);
}

}  // namespace nanochat
