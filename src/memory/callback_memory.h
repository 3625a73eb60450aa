// Memory from the caller's own allocator.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory/raw_memory.h"

namespace nanochat {

// Both are called from any thread, at the same time. allocate returns nullptr when there is no memory.
struct MemoryCallbacks {
  void* (*allocate)(size_t bytes, size_t alignment, void* user_data) = nullptr;
  void (*free)(void* pointer, size_t bytes, size_t alignment, void* user_data) = nullptr;
  void* user_data = nullptr;
};

class CallbackMemory final : public RawMemory {
 public:
  explicit CallbackMemory(const MemoryCallbacks& callbacks);  // throws invalid_argument unless both are set
  void* allocate(size_t bytes, size_t alignment) noexcept override;
  void free(void* pointer, size_t bytes, size_t alignment) noexcept override;
  uint64_t total_bytes() const override { return 0; }
  uint64_t available_bytes() const override { return 0; }

 private:
  MemoryCallbacks callbacks_;
};

}  // namespace nanochat
