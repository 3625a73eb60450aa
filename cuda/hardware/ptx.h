// Instructions of the hardware that C++ has no words for. Fragments are laid out as PTX ISA says for each
// shape: lane = threadIdx.x % 32, g = lane / 4, t = lane % 4.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace nanochat::cuda {

// d += a b for a tile [16, 16] of bf16 rows and [16, 8] of columns, fp32 sums. All lanes of the warp
// together.
//   a[0] row g, columns 2t and 2t+1; a[1] row g + 8; a[2] row g, columns 2t + 8, +9; a[3] row g + 8, the same
//   b[0] rows 2t and 2t+1 of column g; b[1] rows 2t + 8, +9
//   d[0], d[1] row g, columns 2t and 2t+1; d[2], d[3] row g + 8
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same for signed bytes: [16, 32] rows, [32, 8] columns, exact sums.
//   a[0] row g, columns 4t to 4t+3; a[1] row g + 8; a[2] row g, columns 4t + 16 to +19; a[3] row g + 8, the
//   same b[0] rows 4t to 4t+3 of column g; b[1] rows 4t + 16 to +19
__device__ __forceinline__ void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 matrices of 16-bit values from shared memory. Lanes 8i to 8i+7 give the addresses of the rows of
// matrix i, 16 bytes each, 16-byte aligned. r[i]: of matrix i, row g, columns 2t and 2t+1.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* shared_row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Two products of bf16, each rounded once.
__device__ __forceinline__ uint32_t multiply_bf16_pair(uint32_t a, uint32_t b) {
  uint32_t product;  // with -0 added, which changes nothing: sm_80 has only this
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(0x80008000U));
  return product;
}

// Starts a copy of 16 bytes from device to shared memory, both aligned to 16; of zeros where !is_there.
// Copies of a thread belong to the group that it commits next; wait_copies<N> waits for all groups but the
// last N, of this thread: a barrier makes them visible to the others.
__device__ __forceinline__ void copy_16(void* shared, const void* global, bool is_there = true) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int n_bytes = is_there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(n_bytes)
               : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kGroupsLeft>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

// Two floats to the nearest bf16, ties to even; NaN becomes 0x7fff. `low` comes first in memory.
__device__ __forceinline__ uint32_t round_to_bf16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// 2^x within two units of the last place; 0 below 2^-126, and so for -infinity.
__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 16 bytes that nobody reads again soon: weights.
__device__ __forceinline__ uint4 load_once(const void* global) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(global));
  return v;
}

// A kernel may be started before the one before it has ended. Every kernel waits here before it reads or
// writes what another kernel may have written or may still read: only weights may be touched earlier.
__device__ __forceinline__ void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// From here on the next kernel may be started beside this one.
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// What cudaLaunchKernel is told of a kernel.
template <class... Parameters>
const void* kernel_handle(void (*kernel)(Parameters...)) {
  return reinterpret_cast<const void*>(kernel);
}

}  // namespace nanochat::cuda

// The shared memory whose size is given at the launch; aligned to 128 bytes.
#define NANOCHAT_LAUNCH_SHARED(Type, name)                                 \
  extern __shared__ __align__(128) unsigned char nanochat_launch_shared[]; \
  Type* const name = reinterpret_cast<Type*>(nanochat_launch_shared)
