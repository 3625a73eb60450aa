// Memory of the emulated GPUs and pinned memory of the host. All functions: under the machine's mutex.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime_api.h"

namespace nanochat::emulation {

enum class MemoryKind { pageable, pinned, device };

struct MemoryRange {
  std::byte* begin;
  size_t bytes;
  int device;
};

// Every allocation ends at a page that nobody may touch. The host can read nothing of it: see OpenMemory.
cudaError_t allocate_device(void** pointer, size_t bytes, int device);
cudaError_t free_device(void* pointer);
// The live allocation that has [pointer, pointer + bytes); of no bytes: also the one that ends there.
const MemoryRange* find_device(const void* pointer, size_t bytes);
uint64_t device_bytes_in_use(int device);
void free_all_of(int device);

cudaError_t allocate_pinned(void** pointer, size_t bytes);
cudaError_t free_pinned(void* pointer);
cudaError_t register_pinned(void* pointer, size_t bytes);
cudaError_t unregister_pinned(void* pointer);

MemoryKind kind_of(const void* pointer, size_t bytes);

// While one lives, device memory can be read and written, and a kernel that goes astray is named.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

}  // namespace nanochat::emulation
