// Sums over one row by a whole block, in an order that depends on the row's width alone.
#pragma once

#include <cstdint>

#include "hardware/grid.h"
#include "hardware/numbers.h"

namespace nanochat::cuda {

// Rows of one kernel are all of one width: short ones are a warp's, the others a block's of kBlockThreads.
inline unsigned threads_for_row(int64_t width) {
  constexpr int64_t kWarpsRow = 256;
  return width <= kWarpsRow ? kWarp : kBlockThreads;
}

// Of term(i) for i below width. Each thread adds every blockDim.x-th, threads as block_sum() does.
template <class Term>
__device__ __forceinline__ float row_sum(int64_t width, float* place, Term term) {
  float sum = 0.0F;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) sum += term(i);
  return block_sum(sum, place);
}

}  // namespace nanochat::cuda
