// The emulator's twin of the CUDA module's hardware/ptx.h: the same contracts, see there.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <cuda_runtime.h>

#include "kernel_facts.h"

namespace nanochat::emulation {

struct MmaBf16 {
  float* d;
  const uint32_t *a, *b;
};
struct MmaS8 {
  int32_t* d;
  const uint32_t *a, *b;
};
struct LoadMatrices {
  uint32_t* result;
  const void* row;
};
void complete_mma_bf16(void* const (&operands)[32], unsigned mask);
void complete_mma_s8(void* const (&operands)[32], unsigned mask);
void complete_load_matrices(void* const (&operands)[32], unsigned mask);

}  // namespace nanochat::emulation

namespace nanochat::cuda {

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::MmaBf16 operand{d, a, b};
  emulation::meet_warp(emulation::Meeting::mma_bf16, 0xffffffffU, &operand, emulation::complete_mma_bf16);
}

inline void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::MmaS8 operand{d, a, b};
  emulation::meet_warp(emulation::Meeting::mma_s8, 0xffffffffU, &operand, emulation::complete_mma_s8);
}

inline void load_matrices(uint32_t (&r)[4], const void* shared_row) {
  emulation::LoadMatrices operand{r, shared_row};
  emulation::meet_warp(emulation::Meeting::load_matrices, 0xffffffffU, &operand,
                       emulation::complete_load_matrices);
}

inline uint32_t multiply_bf16_pair(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (int half = 0; half < 2; ++half) {
    const auto value = [&](uint32_t pair) { return __uint_as_float(pair >> (half * 16) << 16); };
    const uint32_t bits = __float_as_uint(value(a) * value(b));  // exact: 16 bits of digits at most
    product |= ((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16) << (half * 16);
  }
  return product;
}

inline void copy_16(void* shared, const void* global, bool is_there = true) {
  emulation::begin_async_copy(shared, global, is_there);
}
inline void commit_copies() { emulation::commit_async_copies(); }
template <int kGroupsLeft>
void wait_copies() {
  emulation::wait_async_copies(kGroupsLeft);
}

inline uint32_t round_to_bf16_pair(float low, float high) {
  const auto rounded = [](float value) -> uint32_t {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7fffU;
    return (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  };
  return rounded(low) | (rounded(high) << 16);
}
inline float power_of_two(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126F ? 0.0F : y;
}

inline uint4 load_once(const void* global) {
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    emulation::fail_kernel("load_once() from %p: not aligned to 16", global);
  }
  uint4 value;
  std::memcpy(&value, global, sizeof value);
  return value;
}

inline void wait_for_earlier_kernels() { emulation::note_wait_for_kernels(); }
inline void let_next_kernel_start() {}

template <class... Parameters>
const void* kernel_handle(void (*kernel)(Parameters...)) {
  return emulation::register_kernel(reinterpret_cast<emulation::AnyKernel>(kernel),
                                    &emulation::FactsOf<Parameters...>::kFacts);
}

}  // namespace nanochat::cuda

#define NANOCHAT_LAUNCH_SHARED(Type, name) \
  Type* const name = reinterpret_cast<Type*>(::nanochat::emulation::launch_shared)
