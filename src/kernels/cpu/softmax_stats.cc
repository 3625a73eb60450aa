#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/reference.h"

namespace nanochat::reference {

namespace {

constexpr int64_t kNeighbours = 1024;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

SoftmaxStats softmax_stats(Device& /*device*/, const float* x, int64_t n, float scale) {
  SoftmaxStats stats{-kInfinity, -1, 0.0};
  for (int64_t i = 0; i < n; ++i) {
    if (!(x[i] < kInfinity)) return {0.0F, -1, 0.0};
    if (x[i] <= stats.largest) continue;
    stats.largest = x[i];
    stats.index = i;
  }
  if (stats.index < 0) return {0.0F, -1, 0.0};
  for (int64_t first = 0; first < n; first += kNeighbours) {
    float sum = 0.0F;
    for (int64_t i = first; i < std::min(n, first + kNeighbours); ++i) {
      sum += std::exp(scale * (x[i] - stats.largest));
    }
    stats.sum += static_cast<double>(sum);
  }
  return stats;
}

}  // namespace nanochat::reference
