// What CUDA adds to C++ in kernels, as plain C++.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "lanes.h"

#define __host__
#define __device__
#define __global__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
// One block runs at a time. The tag is for module_symbols.cc, which finds the variables by it.
#define __shared__ static __attribute__((abi_tag("cuda_shared")))

// Of the thread that runs now.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace nanochat::emulation {

struct Shuffle {
  uint64_t value, result;
  unsigned source;
};
struct Vote {
  unsigned value, result;
};
void complete_shuffle(void* const (&operands)[32], unsigned mask);
void complete_ballot(void* const (&operands)[32], unsigned mask);  // of lanes whose value is not 0
void complete_match(void* const (&operands)[32], unsigned mask);
void complete_sum(void* const (&operands)[32], unsigned mask);

template <class T>
T shuffle(Meeting meeting, unsigned mask, T value, unsigned source) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  Shuffle operand{0, 0, source};
  std::memcpy(&operand.value, &value, sizeof value);
  meet_warp(meeting, mask, &operand, complete_shuffle);
  T result;
  std::memcpy(&result, &operand.result, sizeof result);
  return result;
}

inline unsigned vote(Meeting meeting, unsigned mask, unsigned value, Complete complete) {
  Vote operand{value, 0};
  meet_warp(meeting, mask, &operand, complete);
  return operand.result;
}

template <class T>
T exchange(T* address, T next) {
  const T old = *address;
  *address = next;
  return old;
}

}  // namespace nanochat::emulation

inline void __syncthreads() { ::nanochat::emulation::meet_block(false); }
inline int __syncthreads_count(int predicate) { return ::nanochat::emulation::meet_block(predicate != 0); }
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0 ? 1 : 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate == 0) == 0 ? 1 : 0; }
inline void __syncwarp(unsigned mask = 0xffffffffU) {
  ::nanochat::emulation::meet_warp(::nanochat::emulation::Meeting::warp_barrier, mask, nullptr, nullptr);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
[[noreturn]] inline void __trap() { ::nanochat::emulation::fail_kernel("__trap()"); }

// The lane that is read for one of `width` lanes; its own where there is none.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned lane = ::nanochat::emulation::current_lane->number, size = static_cast<unsigned>(width);
  const unsigned first = lane & ~(size - 1);
  return ::nanochat::emulation::shuffle(::nanochat::emulation::Meeting::shuffle, mask, value,
                                        first + (static_cast<unsigned>(source) & (size - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  const unsigned lane = ::nanochat::emulation::current_lane->number, size = static_cast<unsigned>(width);
  const unsigned other = lane ^ static_cast<unsigned>(lane_mask);
  // Within smaller groups: lanes of later groups are out of reach, those of earlier ones are not.
  const bool is_in_reach = other < (lane & ~(size - 1)) + size;
  return ::nanochat::emulation::shuffle(::nanochat::emulation::Meeting::shuffle_xor, mask, value,
                                        is_in_reach ? other : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned lane = ::nanochat::emulation::current_lane->number, size = static_cast<unsigned>(width);
  return ::nanochat::emulation::shuffle(::nanochat::emulation::Meeting::shuffle_up, mask, value,
                                        (lane & (size - 1)) >= delta ? lane - delta : lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned lane = ::nanochat::emulation::current_lane->number, size = static_cast<unsigned>(width);
  return ::nanochat::emulation::shuffle(::nanochat::emulation::Meeting::shuffle_down, mask, value,
                                        (lane & (size - 1)) + delta < size ? lane + delta : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return ::nanochat::emulation::vote(::nanochat::emulation::Meeting::ballot, mask, predicate != 0 ? 1 : 0,
                                     ::nanochat::emulation::complete_ballot);
}
inline int __any_sync(unsigned mask, int predicate) {
  return ::nanochat::emulation::vote(::nanochat::emulation::Meeting::any, mask, predicate != 0 ? 1 : 0,
                                     ::nanochat::emulation::complete_ballot) != 0
             ? 1
             : 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return ::nanochat::emulation::vote(::nanochat::emulation::Meeting::all, mask, predicate == 0 ? 1 : 0,
                                     ::nanochat::emulation::complete_ballot) == 0
             ? 1
             : 0;
}
inline unsigned __match_any_sync(unsigned mask, unsigned value) {
  return ::nanochat::emulation::vote(::nanochat::emulation::Meeting::match_any, mask, value,
                                     ::nanochat::emulation::complete_match);
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  return ::nanochat::emulation::vote(::nanochat::emulation::Meeting::reduce, mask, value,
                                     ::nanochat::emulation::complete_sum);
}
inline int __reduce_add_sync(unsigned mask, int value) {
  return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(value)));
}

// One thread runs at a time.
#define NANOCHAT_EMULATED_ATOMICS(T)                                                                   \
  inline T atomicMin(T* p, T v) { return ::nanochat::emulation::exchange(p, v < *p ? v : *p); }        \
  inline T atomicMax(T* p, T v) { return ::nanochat::emulation::exchange(p, v > *p ? v : *p); }        \
  inline T atomicExch(T* p, T v) { return ::nanochat::emulation::exchange(p, v); }                     \
  inline T atomicCAS(T* p, T expected, T v) {                                                          \
    return ::nanochat::emulation::exchange(p, *p == expected ? v : *p);                                \
  }                                                                                                    \
  inline T atomicAnd(T* p, T v) { return ::nanochat::emulation::exchange(p, static_cast<T>(*p & v)); } \
  inline T atomicOr(T* p, T v) { return ::nanochat::emulation::exchange(p, static_cast<T>(*p | v)); }  \
  inline T atomicXor(T* p, T v) { return ::nanochat::emulation::exchange(p, static_cast<T>(*p ^ v)); }
NANOCHAT_EMULATED_ATOMICS(int)
NANOCHAT_EMULATED_ATOMICS(unsigned)
NANOCHAT_EMULATED_ATOMICS(unsigned long long)
NANOCHAT_EMULATED_ATOMICS(long long)
#undef NANOCHAT_EMULATED_ATOMICS
inline int atomicAdd(int* p, int v) {
  return ::nanochat::emulation::exchange(
      p, static_cast<int>(static_cast<unsigned>(*p) + static_cast<unsigned>(v)));
}
inline unsigned atomicAdd(unsigned* p, unsigned v) { return ::nanochat::emulation::exchange(p, *p + v); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
  return ::nanochat::emulation::exchange(p, *p + v);
}
inline float atomicAdd(float* p, float v) { return ::nanochat::emulation::exchange(p, *p + v); }

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T v) {
  *p = v;
}
template <class T>
void __stcg(T* p, T v) {
  *p = v;
}
