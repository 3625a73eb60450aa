#include "memory/callback_memory.h"

#include "base/error.h"

namespace nanochat {

CallbackMemory::CallbackMemory(const MemoryCallbacks& callbacks) : callbacks_(callbacks) {
  if (callbacks.allocate == nullptr || callbacks.free == nullptr) {
    const char* missing = callbacks.allocate == nullptr ? "allocate" : "free";
    throw Error(Status::invalid_argument)
        .subject(missing)
        .say("allocator callbacks: '{}' is missing; allocate and free are set together", missing);
  }
}

void* CallbackMemory::allocate(size_t bytes, size_t alignment) noexcept {
  void* const pointer = callbacks_.allocate(bytes, alignment, callbacks_.user_data);
  if (pointer == nullptr || reinterpret_cast<uintptr_t>(pointer) % alignment == 0) return pointer;
  // Kernels rely on the alignment; a block without it is as good as none.
  callbacks_.free(pointer, bytes, alignment, callbacks_.user_data);
  return nullptr;
}

void CallbackMemory::free(void* pointer, size_t bytes, size_t alignment) noexcept {
  callbacks_.free(pointer, bytes, alignment, callbacks_.user_data);
}

}  // namespace nanochat
