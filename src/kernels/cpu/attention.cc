#include <cmath>
#include <vector>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0.0F;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// One query against keys first..last of one head: scores, their softmax, the weighted sum of values.
void attend(const float* q, const float* k, const float* v, int64_t first, int64_t last,
            const AttentionShape& shape, std::vector<float>& scores, float* y) {
  scores.clear();
  float largest = -INFINITY;
  for (int64_t key = first; key <= last; ++key) {
    scores.push_back(shape.scale * dot(q, k + key * shape.head_dim, shape.head_dim));
    largest = std::max(largest, scores.back());
  }
  float total = 0.0F;
  for (float& score : scores) total += score = std::exp(score - largest);
  for (int64_t i = 0; i < shape.head_dim; ++i) y[i] = 0.0F;
  for (int64_t key = first; key <= last; ++key) {
    const float weight = scores[static_cast<size_t>(key - first)] / total;
    for (int64_t i = 0; i < shape.head_dim; ++i) y[i] += weight * v[key * shape.head_dim + i];
  }
}

}  // namespace

void attention(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* q, int64_t ldq, float* y, int64_t ldy) {
  const int64_t group = shape.n_head / shape.n_kv_head;
  for (const SequenceRows& sequence : sequences) {
    device.threads().parallel_for(sequence.n_rows * shape.n_head, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> scores;
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t row = unit / shape.n_head, head = unit % shape.n_head;
        const int64_t position = sequence.position + row;
        const int64_t first = shape.window_left < 0 ? 0 : std::max<int64_t>(0, position - shape.window_left);
        const int64_t cache = head / group * sequence.capacity * shape.head_dim;
        const int64_t batch_row = sequence.first_row + row;
        attend(q + batch_row * ldq + head * shape.head_dim, sequence.k + cache, sequence.v + cache, first,
               position, shape, scores, y + batch_row * ldy + head * shape.head_dim);
      }
    });
  }
}

}  // namespace nanochat::reference
