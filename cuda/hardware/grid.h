// How many blocks a kernel over n independent things gets, and which of them a thread takes.
#pragma once

#include <algorithm>
#include <cstdint>

#include <cuda_runtime.h>

namespace nanochat::cuda {

inline constexpr unsigned kBlockThreads = 256;

// Threads go on in steps of the whole grid, so that any n is served.
inline dim3 grid_for(int64_t n, int64_t per_block = kBlockThreads) {
  constexpr int64_t kMostBlocks = 1 << 16;
  return dim3(static_cast<unsigned>(std::clamp<int64_t>((n + per_block - 1) / per_block, 1, kMostBlocks)));
}

__device__ __forceinline__ int64_t first_index() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t index_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace nanochat::cuda
