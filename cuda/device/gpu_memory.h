// The GPU's memory as the door through which Memory takes it: plain cudaMalloc, never managed memory.
#pragma once

#include <atomic>
#include <memory>

#include <cuda_runtime.h>

#include "device/context.h"
#include "memory/raw_memory.h"

namespace nanochat::cuda {

class GpuMemory final : public RawMemory {
 public:
  explicit GpuMemory(std::shared_ptr<const Context> context) : context_(std::move(context)) {}
  void* allocate(size_t bytes, size_t alignment) noexcept override;
  void free(void* pointer, size_t bytes, size_t alignment) noexcept override;
  uint64_t total_bytes() const override;
  uint64_t available_bytes() const override;
  Error shortage(bool is_model, uint64_t bytes) const override;

 private:
  const std::shared_ptr<const Context> context_;
  std::atomic<cudaError_t> refusal_{cudaSuccess};  // of the last allocation that failed
};

}  // namespace nanochat::cuda
