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
    default:
      throw Error(Status::internal).say("a kernel was given elements of type {}", dtype_name(dtype));
  }
}

float packed_at(const PackedMatrix& matrix, int64_t row, int64_t column) {
  return element_at(matrix.data, matrix.dtype, packed_index(matrix, row, column));
}

}  // namespace nanochat
