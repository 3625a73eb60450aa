// Numbers as kernels see them: formats of storage, and sums over a warp or a block in one fixed order.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace nanochat::cuda {

inline constexpr unsigned kWholeWarp = 0xffffffffU;
inline constexpr int kWarp = 32;

__device__ __forceinline__ float float_of_bf16(uint32_t bits) { return __uint_as_float(bits << 16); }

// To nearest, ties to even; NaN stays NaN. As bf16_from_float() of tensor/dtype.h.
__device__ __forceinline__ uint32_t bf16_of_float(float value) {
  const uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return (bits >> 16) | 0x40U;
  return (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
}
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
  return bf16_of_float(low) | (bf16_of_float(high) << 16);
}

__device__ __forceinline__ float float_of_f16(uint32_t bits) {
  const uint32_t sign = (bits & 0x8000U) << 16, rest = bits & 0x7fffU;
  if (rest >= 0x7c00U) return __uint_as_float(sign | 0x7f800000U | ((rest & 0x3ffU) << 13));
  // An exponent moved by 112 makes normal numbers; subnormal ones are put right by the multiplication.
  return __uint_as_float(__float_as_uint(__uint_as_float(rest << 13) * 0x1p112F) | sign);
}

// The bf16 that equals a code of e4m3 (no code is NaN in a packed matrix).
__device__ __forceinline__ uint32_t bf16_of_f8(uint32_t code) {
  const uint32_t sign = (code & 0x80U) << 8;
  const float magnitude = __uint_as_float((code & 0x7fU) << 20) * 0x1p120F;
  return sign | (__float_as_uint(magnitude) >> 16);
}

__device__ __forceinline__ bool is_finite_number(float value) {
  return (__float_as_uint(value) & 0x7f800000U) != 0x7f800000U;
}

// By halves: the same tree whatever the block. All lanes get the result.
__device__ __forceinline__ float warp_sum(float value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kWholeWarp, value, distance);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, distance));
  return value;
}

// Of a block of whole warps, 1024 threads at most; warps in ascending order. `place` is shared memory of 32
// floats, free again after the block's next barrier. All threads get the result.
__device__ __forceinline__ float block_sum(float value, float* place) {
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) place[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0.0F;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += place[warp];
  return sum;
}

}  // namespace nanochat::cuda
