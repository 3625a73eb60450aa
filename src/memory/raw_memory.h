// The allocator door: every large buffer of the library passes through one of these.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace nanochat {

// Where bytes come from: host memory, the caller's allocator callbacks, a GPU. Thread-safe.
class RawMemory {
 public:
  virtual ~RawMemory() = default;
  // nullptr when there is none. `alignment` is a power of two.
  virtual void* allocate(size_t bytes, size_t alignment) noexcept = 0;
  virtual void free(void* pointer, size_t bytes, size_t alignment) noexcept = 0;
  virtual uint64_t total_bytes() const = 0;  // 0: unknown
  virtual uint64_t available_bytes() const = 0;
  // The error of an allocation that gave nothing, as far as the source of the bytes knows more than that.
  virtual Error shortage(bool /*is_model*/, uint64_t /*bytes*/) const { return Error(Status::out_of_memory); }
};

}  // namespace nanochat
