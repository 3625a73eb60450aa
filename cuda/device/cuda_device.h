// One NVIDIA GPU as a Device. All kernels and copies of a device run in one stream, in the order in which
// host threads put them there; only weights travel in streams of their own while they are loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <cuda_runtime.h>

#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat::cuda {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
};

struct KernelCall {
  const void* kernel;  // kernel_handle() of it
  LaunchShape shape;
  void** arguments;
  const size_t* argument_bytes;
  size_t n_arguments;
};

struct GpuLimits {
  int n_multiprocessors;
  int capability;             // major * 10 + minor
  size_t block_shared_bytes;  // the most that a block may ask for
};

class Recording;
class StagingRing;

class CudaDevice final : public Device {
 public:
  CudaDevice(int index, std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads,
             std::shared_ptr<Log> log);
  ~CudaDevice() override;

  const std::string& name() const override { return name_; }
  const std::string& isa() const override { return isa_; }
  const Kernels& kernels() const override { return kernels_; }
  void copy_to_device(void* target, const void* source, size_t bytes) override;
  void copy_to_host(void* target, const void* source, size_t bytes) override;
  void copy(void* target, const void* source, size_t bytes) override;
  void synchronize() override;
  bool is_host() const override { return false; }
  DeviceFacts facts() const override;
  bool is_resident(const void* pointer, size_t n_bytes) const noexcept override;
  bool lock(const void*, size_t) noexcept override { return true; }
  void unlock(const void*, size_t) noexcept override {}

  const GpuLimits& limits() const { return limits_; }

  // See launch.h. Throws cuda_context_lost, naming the last kernel call that was accepted.
  void enqueue(const KernelCall& call);

  // A copy of `values` in device memory for kernels that this thread enqueues before its kernel table call
  // returns.
  template <class T>
  const T* stage(std::span<const T> values) {
    return static_cast<const T*>(stage_bytes(values.data(), values.size_bytes()));
  }

 private:
  friend class Scratch;
  const void* stage_bytes(const void* source, size_t bytes);
  std::string name_, isa_;
  GpuLimits limits_;
  Kernels kernels_;
};

// Device memory for kernels that this thread enqueues while the object lives: what one kernel of a stem
// leaves for the next one. Aligned to 256 bytes. Throws working_memory_exhausted, out_of_memory.
class Scratch {
 public:
  Scratch(CudaDevice& device, size_t bytes, const char* label);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* as() const {
    return block_.as<T>();
  }

 private:
  CudaDevice& device_;
  Block block_;
};

inline CudaDevice& cuda_device(Device& device) { return static_cast<CudaDevice&>(device); }

}  // namespace nanochat::cuda
