#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/reference.h"

namespace nanochat::reference {

namespace {

constexpr int64_t kNeighbours = 1024;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double sum_of_exponentials(std::span<const float> x, float largest, float scale) {
  double total = 0.0;
  for (size_t first = 0; first < x.size(); first += kNeighbours) {
    float sum = 0.0F;
    for (const float value : x.subspan(first, std::min<size_t>(kNeighbours, x.size() - first))) {
      sum += std::exp(scale * (value - largest));
    }
    total += static_cast<double>(sum);
  }
  return total;
}

void select_row(std::span<const float> x, float scale, TopLogits& top) {
  top.scale = scale;
  top.n_logits = static_cast<int32_t>(x.size());
  top.n = 0;
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!(x[i] < kInfinity)) return;
    if (x[i] > -kInfinity) tokens.push_back(static_cast<int32_t>(i));
  }
  if (tokens.empty()) return;
  const auto value = [&](int32_t token) { return x[static_cast<size_t>(token)]; };
  top.n = static_cast<int32_t>(std::min<size_t>(TopLogits::kMost, tokens.size()));
  std::partial_sort(tokens.begin(), tokens.begin() + top.n, tokens.end(),
                    [&](int32_t a, int32_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; });
  for (int32_t i = 0; i < top.n; ++i) {
    top.tokens[i] = tokens[static_cast<size_t>(i)];
    top.logits[i] = value(top.tokens[i]);
  }
  top.sum = sum_of_exponentials(x, top.logits[0], 1.0F);
  top.scaled_sum = sum_of_exponentials(x, top.logits[0], scale);
}

}  // namespace

void select_top(Device& /*device*/, const float* x, int64_t n, std::span<const float> scales,
                std::span<TopLogits> top) {
  for (size_t row = 0; row < top.size(); ++row) {
    select_row({x + static_cast<int64_t>(row) * n, static_cast<size_t>(n)}, scales[row], top[row]);
  }
}

}  // namespace nanochat::reference
