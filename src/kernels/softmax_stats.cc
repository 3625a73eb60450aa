#include "kernels/simd_kernels.h"

namespace nanochat::simd {

// By one thread: a vocabulary takes less time than waking the others.
SoftmaxStats softmax_stats(Device& device, const float* x, int64_t n, float scale) {
  const SimdBodies& bodies = bodies_of(device);
  SoftmaxStats stats{0.0F, -1, 0.0};
  stats.index = bodies.find_largest(x, n, &stats.largest);
  if (stats.index >= 0) stats.sum = bodies.sum_exponentials(x, n, stats.largest, scale);
  return stats;
}

}  // namespace nanochat::simd
