// Keys and values of one sequence, all layers, on the model's device, in pages of 64 positions that caches
// may share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/kv_page.h"
#include "model/model.h"

namespace nanochat {

enum class KvReserve : int32_t {
  at_once = 0,   // pages for the whole capacity from the beginning: appending takes no memory
  as_needed = 1  // pages when positions come to be written
};

struct KvOptions {
  DType dtype = DType::f32;  // f32, bf16 or i8
  KvReserve reserve = KvReserve::at_once;
};

// One thread at a time; caches that share pages may be used at the same time.
class KvCache {
 public:
  // `prefix`: full pages of caches of the same model and dtype, which the cache begins with and shares. They
  // count as holding the sequence from position 0 on. Throws out_of_range (capacity), invalid_argument (a
  // page of another model or dtype, more pages than the capacity has room for), working_memory_exhausted.
  KvCache(std::shared_ptr<const Model> model, int64_t capacity, const KvOptions& options = {},
          std::span<const KvPage> prefix = {});

  const Model& model() const { return *model_; }
  const std::shared_ptr<const Model>& shared_model() const { return model_; }
  const KvOptions& options() const { return options_; }
  int64_t capacity() const { return capacity_; }
  int64_t length() const { return length_; }

  // A cache of the same capacity and options that goes its own way: full pages are shared, the last one is
  // copied if it is partial. at_once: it has pages for all further positions. Throws
  // working_memory_exhausted.
  KvCache clone() const;

  // Forgets positions from `length` on; their pages are kept for what comes next. With smear the last
  // embedding is kept per position, so that truncation is exact. Throws out_of_range.
  void truncate(int64_t length);
  void clear() { truncate(0); }

  // Makes positions length()..length()+n-1 writable: takes pages that are missing, and replaces those that
  // are shared (the one with positions before length() by a copy of it). All or nothing: if it throws
  // working_memory_exhausted, the cache is as it was. forward() calls it before it computes anything. With
  // at_once it takes memory only for shared pages that were truncated into. n fits into the capacity.
  void prepare(int64_t n_tokens);
  void advance(int64_t n_tokens) { length_ += n_tokens; }  // after the positions were written

  // as_needed: gives back the pages past length(). at_once: nothing.
  void release_unused() noexcept;

  // Pages 0..n_full_pages()-1 hold 64 positions each and are handed out to be shared. Once shared, a page is
  // never written again by anyone.
  int64_t n_full_pages() const { return length_ / kPagePositions; }
  const KvPage& full_page(int64_t index) const { return pages_[static_cast<size_t>(index)]; }
  int64_t n_pages() const { return std::ssize(pages_); }  // held, full or not
  uint64_t page_bytes() const { return page_bytes_; }     // of one, without the pool's rounding

  // The bytes of all layers up to length(), for session files: [layer][k, v][n_kv_head][length][head_dim] of
  // the dtype (for i8 each [length][head_dim] is followed by its scales, fp32 [length]), then the smear rows.
  std::vector<std::byte> serialize() const;
  // Replaces the contents. Throws format_invalid (a size that does not match), context_full,
  // working_memory_exhausted; the cache is as it was then.
  void deserialize(std::span<const std::byte> bytes, int64_t length);

  // For kernels: SequenceRows::pages, valid until prepare(), deserialize() or release_unused().
  std::byte* const* page_addresses() const { return addresses_.data(); }
  int64_t layer_offset(int64_t layer) const {
    return page_layer_offset(model_->config(), options_.dtype, layer);
  }
  // The normed un-smeared embedding of a position, [n_embd]; nullptr without smear.
  float* embedding(int64_t position) const;

 private:
  static constexpr int64_t kNoPage = -1;
  void put_page(int64_t index, KvPage page) noexcept;  // one of pages_, or the next one
  // Puts new pages where first..end-1 are missing or shared; `copied` gets what the page held. All or
  // nothing.
  void take_pages(int64_t first, int64_t end, int64_t copied);

  std::shared_ptr<const Model> model_;
  int64_t capacity_ = 0, length_ = 0;
  KvOptions options_;
  uint64_t page_bytes_ = 0;
  std::vector<KvPage> pages_;  // room for the whole capacity is reserved
  std::vector<std::byte*> addresses_;
};

}  // namespace nanochat
