// How linear() is split among its files.
#pragma once

#include "device/cuda_device.h"
#include "tensor/kernels.h"

namespace nanochat::cuda {

// Inputs that linear() takes at most, so that a place in a row is an int.
inline constexpr int64_t kMostInputs = int64_t{1} << 28;

// From here on a library's products may be faster, where they are allowed.
inline constexpr int64_t kFewestFastRows = 64;

// What linear() was asked for; m, n > 0.
struct LinearCall {
  PackedMatrix w;
  const float* x;
  int64_t ldx, m;
  float* y;
  int64_t ldy;
  LinearOutput output;
};

void linear_f32(CudaDevice&, const LinearCall&);
void linear_bf16(CudaDevice&, const LinearCall&);
void linear_f8(CudaDevice&, const LinearCall&);
void linear_int8(CudaDevice&, const LinearCall&);

// The bytes that a row of weights takes in device memory.
inline int64_t weight_row_bytes(DType dtype, int64_t k) {
  if (dtype == DType::i8) return (k + 3) / 4 * 4;
  if (dtype == DType::f8_e4m3) return (k + 1) / 2 * 2;
  return dtype == DType::bf16 ? (k + 1) / 2 * 4 : k * 4;
}

inline bool is_aligned_16(const void* pointer, int64_t stride_bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && stride_bytes % 16 == 0;
}

}  // namespace nanochat::cuda
