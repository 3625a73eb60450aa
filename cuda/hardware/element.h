// One element of a plain table, as fp32.
#pragma once

#include <cstdint>

#include "hardware/numbers.h"
#include "tensor/dtype.h"

namespace nanochat::cuda {

// f32, bf16 or f16.
__device__ __forceinline__ float element_of(const void* table, DType dtype, int64_t index) {
  if (dtype == DType::f32) return static_cast<const float*>(table)[index];
  const uint32_t bits = static_cast<const uint16_t*>(table)[index];
  return dtype == DType::bf16 ? float_of_bf16(bits) : float_of_f16(bits);
}

}  // namespace nanochat::cuda
