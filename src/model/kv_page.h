// Memory of 64 positions of one sequence, all layers, that several caches may hold at once. What lies where:
// tensor/kv_page.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "memory/memory.h"
#include "model/model.h"

namespace nanochat {

// One holder of a page. Handles of one page may be copied and dropped by several threads at once; one handle
// is used by one thread at a time. A page with one holder may be written by it; a shared page is never
// written.
class KvPage {
 public:
  KvPage() = default;
  ~KvPage() { drop(); }
  KvPage(const KvPage& other) noexcept : shared_(other.shared_) {
    if (shared_ != nullptr) shared_->n_holders.fetch_add(1, std::memory_order_relaxed);
  }
  KvPage(KvPage&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {}
  KvPage& operator=(KvPage other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }

  // Takes page_bytes(config, dtype) from the working pool; throws working_memory_exhausted.
  static KvPage allocate(const std::shared_ptr<const Model>& model, DType dtype);

  explicit operator bool() const { return shared_ != nullptr; }
  std::byte* data() const { return shared_->block.as(); }
  uint64_t bytes() const { return shared_->block.bytes(); }
  const Model& model() const { return *shared_->model; }
  DType dtype() const { return shared_->dtype; }
  // Whether others hold it. false stays false until this handle is copied; then all they did with the page
  // happened before.
  bool is_shared() const { return shared_->n_holders.load(std::memory_order_acquire) > 1; }

 private:
  struct Shared {
    std::atomic<int64_t> n_holders{1};
    DType dtype = DType::f32;
    std::shared_ptr<const Model> model;
    Block block;
  };
  explicit KvPage(std::unique_ptr<Shared> shared) : shared_(shared.release()) {}

  void drop() noexcept {
    if (shared_ != nullptr && shared_->n_holders.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const std::unique_ptr<Shared> last(shared_);
    }
  }

  Shared* shared_ = nullptr;
};

// Where the layers and the embeddings of a page begin, and how long it is.
int64_t page_layer_offset(const ModelConfig& config, DType dtype, int64_t layer);
int64_t page_embeddings_offset(const ModelConfig& config, DType dtype);
uint64_t page_bytes(const ModelConfig& config, DType dtype);
KvLayout kv_layout(const ModelConfig& config, DType dtype);

}  // namespace nanochat
