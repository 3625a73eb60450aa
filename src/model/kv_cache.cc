#include "model/kv_cache.h"

#include "base/error.h"
#include "model/weight_layout.h"

namespace nanochat {

KvCache::KvCache(std::shared_ptr<const Model> model, int64_t capacity)
    : model_(std::move(model)), capacity_(capacity) {
  const int64_t most = model_->weights().n_rope_positions;
  if (capacity < 1 || capacity > most) {
    throw Error(Status::out_of_range)
        .subject("capacity")
        .say("capacity of a KV cache is {} positions, this model has 1 to {}", capacity, most);
  }
  const uint64_t n_bytes = static_cast<uint64_t>(capacity) * kv_bytes_per_token(model_->config());
  block_ = model_->device().memory().allocate(PoolKind::working, n_bytes, "KV cache");
}

float* KvCache::k(int64_t layer) const {
  return block_.as<float>() + 2 * layer * capacity_ * model_->config().n_kv_width();
}

float* KvCache::v(int64_t layer) const { return k(layer) + capacity_ * model_->config().n_kv_width(); }

float* KvCache::embeddings() const {
  return model_->config().smear_channels > 0 ? k(model_->config().n_layer) : nullptr;
}

KvCache KvCache::clone() const {
  KvCache copy(model_, capacity_);
  const ModelConfig& config = model_->config();
  Device& device = model_->device();
  const auto head_bytes = static_cast<size_t>(length_ * config.head_dim) * sizeof(float);
  for (int64_t plane = 0; plane < 2 * config.n_layer * config.n_kv_head && head_bytes > 0; ++plane) {
    const int64_t offset = plane * capacity_ * config.head_dim;
    device.copy(copy.k(0) + offset, k(0) + offset, head_bytes);
  }
  if (embeddings() != nullptr && length_ > 0) {
    device.copy(copy.embeddings(), embeddings(),
                static_cast<size_t>(length_ * config.n_embd) * sizeof(float));
  }
  device.synchronize();
  copy.length_ = length_;
  return copy;
}

void KvCache::truncate(int64_t length) {
  if (length < 0 || length > length_) {
    throw Error(Status::out_of_range)
        .subject("length")
        .say("cannot truncate a KV cache of {} positions to {}", length_, length);
  }
  length_ = length;
}

std::vector<std::byte> KvCache::serialize() const {
  const ModelConfig& config = model_->config();
  Device& device = model_->device();
  const auto head_bytes = static_cast<size_t>(length_ * config.head_dim) * sizeof(float);
  std::vector<std::byte> bytes(static_cast<size_t>(length_) * kv_bytes_per_token(config));
  if (bytes.empty()) return bytes;
  std::byte* out = bytes.data();
  for (int64_t plane = 0; plane < 2 * config.n_layer * config.n_kv_head; ++plane, out += head_bytes) {
    device.copy_to_host(out, k(0) + plane * capacity_ * config.head_dim, head_bytes);
  }
  if (embeddings() != nullptr) {
    device.copy_to_host(out, embeddings(), static_cast<size_t>(length_ * config.n_embd) * sizeof(float));
  }
  device.synchronize();
  return bytes;
}

void KvCache::deserialize(std::span<const std::byte> bytes, int64_t length) {
  const ModelConfig& config = model_->config();
  if (length < 0 || length > capacity_) {
    throw Error(Status::context_full)
        .subject("length")
        .say("a stored KV cache has {} positions, this one has room for {}", length, capacity_);
  }
  const uint64_t expected = static_cast<uint64_t>(length) * kv_bytes_per_token(config);
  if (bytes.size() != expected) {
    throw Error(Status::format_invalid)
        .subject("KV cache")
        .say("a stored KV cache of {} positions has {} bytes, expected {}", length, bytes.size(), expected);
  }
  Device& device = model_->device();
  const auto head_bytes = static_cast<size_t>(length * config.head_dim) * sizeof(float);
  const std::byte* in = bytes.data();
  for (int64_t plane = 0; plane < 2 * config.n_layer * config.n_kv_head && length > 0;
       ++plane, in += head_bytes) {
    device.copy_to_device(k(0) + plane * capacity_ * config.head_dim, in, head_bytes);
  }
  if (embeddings() != nullptr && length > 0) {
    device.copy_to_device(embeddings(), in, static_cast<size_t>(length * config.n_embd) * sizeof(float));
  }
  device.synchronize();
  length_ = length;
}

}  // namespace nanochat
