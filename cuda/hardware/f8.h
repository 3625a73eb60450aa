// float to e4m3, as f8_from_float() of tensor/dtype.h.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace nanochat::cuda {

// To nearest, ties to even; what is too large becomes 448; NaN stays NaN.
__device__ __forceinline__ uint32_t f8_of_float(float value) {
  const uint32_t bits = __float_as_uint(value), size = bits & 0x7fffffffU;
  const uint32_t normal = ((size + 0x7ffffU + ((size >> 20) & 1U)) >> 20) - (120U << 3);
  // Below 2^-6 codes are multiples of 2^-9, the last place of a float of 2^14.
  const uint32_t small = __float_as_uint(__uint_as_float(size) + 0x1p14F) - 0x46800000U;
  const uint32_t rounded = size < 0x3c800000U ? small : normal;
  const uint32_t code = size > 0x7f800000U ? 0x7fU : size >= 0x43e00000U ? 0x7eU : rounded;
  return (code & 0xffU) | ((bits >> 24) & 0x80U);
}

}  // namespace nanochat::cuda
