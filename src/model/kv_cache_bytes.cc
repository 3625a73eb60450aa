// A KV cache as one row of bytes, in an order that knows nothing of pages.
#include <cstring>

#include "base/error.h"
#include "model/kv_cache.h"

namespace nanochat {

namespace {

// Pairs what a page has with what a row of bytes of `length` positions has of it.
class StoredForm {
 public:
  StoredForm(const ModelConfig& config, DType dtype, int64_t length)
      : config_(config), layout_(kv_layout(config, dtype)), length_(length) {}

  int64_t bytes() const {
    const int64_t smear = config_.smear_channels > 0 ? config_.n_embd * 4 : 0;
    return config_.n_layer * 2 * config_.n_kv_head * head_bytes() + length_ * smear;
  }

  // Calls move(byte in the page, byte in the row, n bytes) for all positions of page `index`.
  template <class Move>
  void for_each(int64_t index, Move move) const {
    const int64_t first = index * kPagePositions;
    const int64_t n_keys = std::min(kPagePositions, length_ - first);
    int64_t stored = 0;
    for (int64_t layer = 0; layer < config_.n_layer; ++layer) {
      const int64_t at = layer * layout_.layer_bytes();
      for (int64_t head = 0; head < config_.n_kv_head; ++head, stored += head_bytes()) {
        const auto place = [&](int64_t key, int64_t i) { return layout_.k_index(key, i); };
        move_head(at + layout_.k_offset(head), at + layout_.k_scale_offset(head), stored, first, n_keys,
                  place, move);
      }
      for (int64_t head = 0; head < config_.n_kv_head; ++head, stored += head_bytes()) {
        const auto place = [&](int64_t key, int64_t i) { return layout_.v_index(key, i); };
        move_head(at + layout_.v_offset(head), at + layout_.v_scale_offset(head), stored, first, n_keys,
                  place, move);
      }
    }
    if (config_.smear_channels > 0) {
      move(config_.n_layer * layout_.layer_bytes(), stored + first * config_.n_embd * 4,
           n_keys * config_.n_embd * 4);
    }
  }

 private:
  int64_t values_bytes() const { return length_ * config_.head_dim * layout_.element_bytes(); }
  int64_t head_bytes() const { return values_bytes() + (layout_.scale_bytes() > 0 ? length_ * 4 : 0); }

  template <class Place, class Move>
  void move_head(int64_t values, int64_t scales, int64_t stored, int64_t first, int64_t n_keys, Place place,
                 Move& move) const {
    const int64_t width = layout_.element_bytes();
    for (int64_t key = 0; key < n_keys; ++key) {
      for (int64_t i = 0; i < config_.head_dim; ++i) {
        move(values + place(key, i) * width, stored + ((first + key) * config_.head_dim + i) * width, width);
      }
    }
    if (layout_.scale_bytes() > 0) move(scales, stored + values_bytes() + first * 4, n_keys * 4);
  }

  const ModelConfig& config_;
  KvLayout layout_;
  int64_t length_;
};

}  // namespace

std::vector<std::byte> KvCache::serialize() const {
  Device& device = model_->device();
  const StoredForm form(model_->config(), options_.dtype, length_);
  std::vector<std::byte> bytes(static_cast<size_t>(form.bytes()));
  std::vector<std::byte> page(device.is_host() ? 0 : page_bytes_);
  for (int64_t index = 0; index < page_count(length_); ++index) {
    const std::byte* from = addresses_[static_cast<size_t>(index)];
    if (!device.is_host()) {
      device.copy_to_host(page.data(), from, page_bytes_);
      device.synchronize();
      from = page.data();
    }
    form.for_each(index, [&](int64_t in_page, int64_t stored, int64_t n) {
      std::memcpy(bytes.data() + stored, from + in_page, static_cast<size_t>(n));
    });
  }
  return bytes;
}

void KvCache::deserialize(std::span<const std::byte> bytes, int64_t length) {
  if (length < 0 || length > capacity_) {
    throw Error(Status::context_full)
        .subject("length")
        .say("a stored KV cache has {} positions, this one has room for {}", length, capacity_);
  }
  const StoredForm form(model_->config(), options_.dtype, length);
  if (bytes.size() != static_cast<uint64_t>(form.bytes())) {
    throw Error(Status::format_invalid)
        .subject("KV cache")
        .say("a stored KV cache of {} positions has {} bytes, expected {}", length, bytes.size(),
             form.bytes());
  }
  Device& device = model_->device();
  std::vector<std::byte> page(page_bytes_);
  take_pages(0, page_count(length), kNoPage);
  for (int64_t index = 0; index < page_count(length); ++index) {
    std::memset(page.data(), 0, page.size());  // what pads an odd head_dim is zero
    form.for_each(index, [&](int64_t in_page, int64_t stored, int64_t n) {
      std::memcpy(page.data() + in_page, bytes.data() + stored, static_cast<size_t>(n));
    });
    device.copy_to_device(addresses_[static_cast<size_t>(index)], page.data(), page_bytes_);
    device.synchronize();
  }
  length_ = length;
}

}  // namespace nanochat
