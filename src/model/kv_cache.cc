#include "model/kv_cache.h"

#include <cstring>
#include <utility>

#include "base/error.h"
#include "model/weight_layout.h"

namespace nanochat {

KvCache::KvCache(std::shared_ptr<const Model> model, int64_t capacity, const KvOptions& options,
                 std::span<const KvPage> prefix)
    : model_(std::move(model)), capacity_(capacity), options_(options) {
  const int64_t most = model_->weights().n_rope_positions;
  if (capacity < 1 || capacity > most) {
    throw Error(Status::out_of_range)
        .subject("capacity")
        .say("capacity of a KV cache is {} positions, this model has 1 to {}", capacity, most);
  }
  if (options.dtype != DType::f32 && options.dtype != DType::bf16 && options.dtype != DType::i8) {
    throw Error(Status::invalid_argument)
        .subject("KV cache")
        .say("a KV cache of {} is not possible, expected F32, BF16 or I8", dtype_name(options.dtype));
  }
  if (std::ssize(prefix) > capacity / kPagePositions) {
    throw Error(Status::invalid_argument)
        .subject("KV cache")
        .say("{} full pages do not fit into a capacity of {}", prefix.size(), capacity);
  }
  page_bytes_ = nanochat::page_bytes(model_->config(), options.dtype);
  const int64_t n_pages = page_count(capacity);
  pages_.reserve(static_cast<size_t>(n_pages));
  addresses_.reserve(static_cast<size_t>(n_pages));
  for (const KvPage& page : prefix) {
    if (!page || &page.model() != model_.get() || page.dtype() != options.dtype) {
      throw Error(Status::invalid_argument)
          .subject("KV cache")
          .say("page {} belongs to another model or another type of KV cache", pages_.size());
    }
    put_page(std::ssize(pages_), page);
  }
  length_ = std::ssize(prefix) * kPagePositions;
  if (options.reserve == KvReserve::at_once) take_pages(std::ssize(prefix), n_pages, kNoPage);
}

void KvCache::put_page(int64_t index, KvPage page) noexcept {
  std::byte* const address = page.data();
  if (index == std::ssize(pages_)) {
    pages_.push_back(std::move(page));
    addresses_.push_back(address);
  } else {
    pages_[static_cast<size_t>(index)] = std::move(page);
    addresses_[static_cast<size_t>(index)] = address;
  }
}

void KvCache::take_pages(int64_t first, int64_t end, int64_t copied) {
  std::vector<std::pair<int64_t, KvPage>> taken;
  for (int64_t index = first; index < end; ++index) {
    if (index < n_pages() && !pages_[static_cast<size_t>(index)].is_shared()) continue;
    taken.emplace_back(index, KvPage::allocate(model_, options_.dtype));
  }
  for (auto& [index, page] : taken) {
    if (index == copied && index < n_pages()) {
      Device& device = model_->device();
      device.copy(page.data(), addresses_[static_cast<size_t>(index)], page_bytes_);
      device.synchronize();  // before somebody else may write what we let go
    }
    put_page(index, std::move(page));
  }
}

void KvCache::prepare(int64_t n_tokens) {
  if (n_tokens > 0)
    take_pages(length_ / kPagePositions, page_count(length_ + n_tokens), length_ / kPagePositions);
}

KvCache KvCache::clone() const {
  const int64_t n_full = n_full_pages();
  KvCache copy(model_, capacity_, options_, std::span(pages_).first(static_cast<size_t>(n_full)));
  if (length_ > copy.length_) {
    copy.prepare(length_ - copy.length_);
    Device& device = model_->device();
    device.copy(copy.addresses_[static_cast<size_t>(n_full)], addresses_[static_cast<size_t>(n_full)],
                page_bytes_);
    device.synchronize();
  }
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

void KvCache::release_unused() noexcept {
  if (options_.reserve == KvReserve::at_once) return;
  const auto n = static_cast<size_t>(page_count(length_));
  while (pages_.size() > n) {
    pages_.pop_back();
    addresses_.pop_back();
  }
}

float* KvCache::embedding(int64_t position) const {
  const ModelConfig& config = model_->config();
  if (config.smear_channels == 0) return nullptr;
  std::byte* const page = addresses_[static_cast<size_t>(position / kPagePositions)];
  return reinterpret_cast<float*>(page + page_embeddings_offset(config, options_.dtype)) +
         position % kPagePositions * config.n_embd;
}

}  // namespace nanochat
