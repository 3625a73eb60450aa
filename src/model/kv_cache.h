// Keys and values of one sequence, all layers, on the model's device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "memory/memory.h"
#include "model/model.h"

namespace nanochat {

class KvCache {
 public:
  // Takes capacity * kv_bytes_per_token from the working pool at once; throws working_memory_exhausted.
  KvCache(std::shared_ptr<const Model> model, int64_t capacity);

  const Model& model() const { return *model_; }
  const std::shared_ptr<const Model>& shared_model() const { return model_; }
  int64_t capacity() const { return capacity_; }
  int64_t length() const { return length_; }

  KvCache clone() const;          // an independent copy
  void truncate(int64_t length);  // forgets positions from `length` on. With smear the last embedding is kept
                                  // per position, so that truncation is exact.
  void clear() { truncate(0); }

  // The bytes of all layers up to length(), for session files: [layer][k, v][n_kv_head][length][head_dim],
  // then the smear rows.
  std::vector<std::byte> serialize() const;
  void deserialize(std::span<const std::byte> bytes, int64_t length);  // throws format_invalid: size mismatch

  float* k(int64_t layer) const;  // [n_kv_head][capacity][head_dim]
  float* v(int64_t layer) const;
  float* embeddings() const;  // [capacity][n_embd] normed un-smeared embeddings; nullptr without smear
  void advance(int64_t n_tokens) { length_ += n_tokens; }

 private:
  std::shared_ptr<const Model> model_;
  int64_t capacity_ = 0, length_ = 0;
  Block block_;
};

}  // namespace nanochat
