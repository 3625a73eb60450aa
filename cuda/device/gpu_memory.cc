#include "device/gpu_memory.h"

#include <cuda_runtime.h>

#include "device/cuda_error.h"

namespace nanochat::cuda {

// cudaMalloc aligns to 256 bytes; what is larger than a page of the GPU lies on pages of its own.
void* GpuMemory::allocate(size_t bytes, size_t /*alignment*/) noexcept {
  const UseContext use(*context_);
  void* pointer = nullptr;
  if (cudaMalloc(&pointer, bytes) == cudaSuccess) return pointer;
  cudaGetLastError();
  return nullptr;
}

void GpuMemory::free(void* pointer, size_t, size_t) noexcept {
  const UseContext use(*context_);
  if (cudaFree(pointer) != cudaSuccess) cudaGetLastError();  // the context is lost, and the memory with it
}

uint64_t GpuMemory::total_bytes() const {
  const UseContext use(*context_);
  size_t available = 0, total = 0;
  return cudaMemGetInfo(&available, &total) == cudaSuccess ? total : 0;
}

uint64_t GpuMemory::available_bytes() const {
  const UseContext use(*context_);
  size_t available = 0, total = 0;
  return cudaMemGetInfo(&available, &total) == cudaSuccess ? available : 0;
}

void GpuMemory::describe_shortage(Error& error) const {
  error.field("cuda_error", reason_of("cudaMalloc", cudaErrorMemoryAllocation))
      .field("vram_free", available_bytes())
      .field("vram_total", total_bytes());
}

}  // namespace nanochat::cuda
