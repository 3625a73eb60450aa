#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/reference.h"
#include "tensor/device.h"

namespace nanochat::reference {

namespace {

// Keys and values of one head, wherever a page has them.
class HeadPages {
 public:
  HeadPages(const SequenceRows& sequence, const AttentionShape& shape, int64_t head)
      : pages_(sequence.pages), shape_(shape), layout_(shape.kv_layout()), head_(head) {}

  float key(int64_t position, int64_t i) const {
    return element(position, layout_.k_offset(head_), layout_.k_index(position % kPagePositions, i),
                   layout_.k_scale_offset(head_));
  }
  float value(int64_t position, int64_t i) const {
    return element(position, layout_.v_offset(head_), layout_.v_index(position % kPagePositions, i),
                   layout_.v_scale_offset(head_));
  }

 private:
  float element(int64_t position, int64_t offset, int64_t index, int64_t scale_offset) const {
    const std::byte* layer = pages_[position / kPagePositions] + shape_.layer_offset;
    switch (layout_.dtype) {
      case DType::bf16:
        return float_from_bf16(reinterpret_cast<const uint16_t*>(layer + offset)[index]);
      case DType::i8:
        return static_cast<float>(reinterpret_cast<const int8_t*>(layer + offset)[index]) *
               reinterpret_cast<const float*>(layer + scale_offset)[position % kPagePositions];
      default:
        return reinterpret_cast<const float*>(layer + offset)[index];
    }
  }

  std::byte* const* pages_;
  const AttentionShape& shape_;
  KvLayout layout_;
  int64_t head_;
};

// What the query at `position` sees.
struct Sight {
  int64_t position, n_keys;
  const AttentionShape& shape;

  bool sees(int64_t key) const {
    if (key < shape.global_keys) return true;
    if (shape.window_left >= 0 && key < position - shape.window_left) return false;
    return shape.window_right < 0 || key <= position + shape.window_right;
  }
  float bias(int64_t head, int64_t key) const {
    if (shape.bias == nullptr) return 0.0F;
    const int64_t reach = shape.bias_reach;
    return shape.bias[head * (2 * reach + 1) + std::clamp(key - position, -reach, reach) + reach];
  }
};

// One query against the keys of one head: scores, their softmax, the weighted sum of values.
void attend(const float* q, const HeadPages& pages, const Sight& sight, int64_t head,
            std::vector<float>& scores, float* y) {
  const AttentionShape& shape = sight.shape;
  scores.clear();
  std::vector<int64_t> keys;
  float largest = -INFINITY;
  for (int64_t key = 0; key < sight.n_keys; ++key) {
    if (!sight.sees(key)) continue;
    float sum = 0.0F;
    for (int64_t i = 0; i < shape.head_dim; ++i) sum += q[i] * pages.key(key, i);
    keys.push_back(key);
    scores.push_back(shape.scale * sum + sight.bias(head, key));
    largest = std::max(largest, scores.back());
  }
  float total = 0.0F;
  for (float& score : scores) total += score = std::exp(score - largest);
  for (int64_t i = 0; i < shape.head_dim; ++i) y[i] = 0.0F;
  for (size_t at = 0; at < keys.size(); ++at) {
    const float weight = scores[at] / total;
    for (int64_t i = 0; i < shape.head_dim; ++i) y[i] += weight * pages.value(keys[at], i);
  }
}

}  // namespace

void attention(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* q, int64_t ldq, float* y, int64_t ldy) {
  const int64_t group = shape.n_head / shape.n_kv_head;
  for (const SequenceRows& sequence : sequences) {
    const int64_t n_keys = sequence.n_keys > 0 ? sequence.n_keys : sequence.position + sequence.n_rows;
    device.threads().parallel_for(sequence.n_rows * shape.n_head, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> scores;
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t row = unit / shape.n_head, head = unit % shape.n_head;
        const int64_t batch_row = sequence.first_row + row;
        attend(q + batch_row * ldq + head * shape.head_dim, HeadPages(sequence, shape, head / group),
               {sequence.position + row, n_keys, shape}, head, scores,
               y + batch_row * ldy + head * shape.head_dim);
      }
    });
  }
}

}  // namespace nanochat::reference
