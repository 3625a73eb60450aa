#include "device/gpu_memory.h"

#include "device/cuda_error.h"

namespace nanochat::cuda {

// cudaMalloc aligns to 256 bytes; what is larger than a page of the GPU lies on pages of its own.
void* GpuMemory::allocate(size_t bytes, size_t /*alignment*/) noexcept {
  const UseContext use(*context_);
  void* pointer = nullptr;
  const cudaError_t code = cudaMalloc(&pointer, bytes);
  if (code == cudaSuccess) return pointer;
  cudaGetLastError();
  refusal_ = code;
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

Error GpuMemory::shortage(bool is_model, uint64_t bytes) const {
  const std::string reason = reason_of("cudaMalloc", refusal_);
  if (is_context_lost(refusal_)) {
    return Error(Status::cuda_context_lost).field("reason", reason).say("CUDA context lost: {}", reason);
  }
  Error error(is_model ? Status::cuda_alloc_failed : Status::out_of_memory);
  error.field("cuda_error", reason).field("vram_free", available_bytes()).field("vram_total", total_bytes());
  return error.say("CUDA allocation failed: requested {} bytes", bytes);
}

}  // namespace nanochat::cuda
