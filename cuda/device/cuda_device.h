// One NVIDIA GPU as a Device. All kernels and copies of a device run in one stream, in the order in which
// host threads put them there; only weights travel in streams of their own while they are loaded.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>

#include <cuda_runtime.h>

#include "device/context.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat::cuda {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
};

template <class... Parameters>
const void* kernel_handle(void (*kernel)(Parameters...));  // hardware/ptx.h

struct KernelCall {
  const void* kernel;  // kernel_handle() of it
  LaunchShape shape;
  void** arguments;
  const size_t* argument_bytes;
  size_t n_arguments;
};

struct GpuLimits {
  int n_multiprocessors = 0;
  int capability = 0;             // major * 10 + minor
  size_t block_shared_bytes = 0;  // the most that a block may ask for
};

class ArgumentRings;
class FastProducts;
class Recording;
class UploadLanes;

class CudaDevice final : public Device {
 public:
  // `memory` takes its bytes from this GPU; `host` is for what is asked of host memory. Throws
  // cuda_init_failed.
  CudaDevice(int index, std::shared_ptr<const Context> context, std::shared_ptr<Memory> memory,
             std::shared_ptr<Device> host, std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log);
  ~CudaDevice() override;

  const std::string& name() const override { return name_; }
  const std::string& isa() const override { return isa_; }
  const Kernels& kernels() const override { return kernels_; }
  void copy_to_device(void* target, const void* source, size_t bytes) override;
  void copy_to_host(void* target, const void* source, size_t bytes) override;
  void copy(void* target, const void* source, size_t bytes) override;
  void synchronize() override;
  void run_recorded(uint64_t key, const std::function<void()>& body) override;
  void use_fast_products() override;  // cuBLASLt's, of many rows; a warning where it is not installed
  bool is_host() const override { return false; }
  DeviceFacts facts() const override;
  bool is_resident(const void* pointer, size_t n_bytes) const noexcept override;
  bool lock(const void*, size_t) noexcept override { return true; }  // a GPU moves nothing away
  void unlock(const void*, size_t) noexcept override {}

  const GpuLimits& limits() const { return limits_; }
  Device& host() const { return *host_; }
  const std::shared_ptr<const Context>& context() const { return context_; }

  // See launch.h. Into the recording of this thread, if it has one. Throws cuda_context_lost.
  void enqueue(const KernelCall& call);

  // A copy of `values` in device memory for kernels that this thread enqueues before its kernel table call
  // returns.
  template <class T>
  const T* stage(std::span<const T> values) {
    return static_cast<const T*>(stage_bytes(values.data(), values.size_bytes()));
  }

  bool is_reproducible() const { return fast_products_ == nullptr; }
  // nullptr: the library is not wanted, not there, or this thread is recording.
  FastProducts* fast_products() const;

  // --- for the parts of this room ------------------------------------------------------------------------
  cudaStream_t stream() const { return stream_; }
  UploadLanes& upload_lanes() { return *lanes_; }
  // Throws cuda_context_lost from the first call that says so on, and internal for other codes. `operation`
  // is a literal, remembered as the last one that went well.
  void check(cudaError_t code, const char* operation);
  void launch_in(cudaStream_t stream, const KernelCall& call);  // never recorded
  void copy_async(void* target, const void* source, size_t bytes, cudaMemcpyKind kind);
  void record(cudaEvent_t event) { check(cudaEventRecord(event, stream_), "cudaEventRecord"); }
  void wait(cudaEvent_t event) { check(cudaEventSynchronize(event), "cudaEventSynchronize"); }
  void allow_shared(const void* kernel, size_t bytes);  // more than a kernel may use unasked
  bool overlaps_kernels() const { return overlaps_; }
  void stop_overlapping(const std::string& reason);

 private:
  friend class Scratch;
  struct Bounce;  // pinned memory for copies of whole arrays, one at a time

  const void* stage_bytes(const void* source, size_t bytes);
  void throttle();
  Recording* open_recording(uint64_t key);
  [[noreturn]] void refuse_lost();

  const int index_;
  const std::shared_ptr<const Context> context_;
  const std::shared_ptr<Device> host_;
  std::string name_, isa_, hardware_;
  int capability_major_ = 0, capability_minor_ = 0;
  GpuLimits limits_;
  Kernels kernels_;
  cudaStream_t stream_ = nullptr;
  std::atomic<bool> overlaps_{false};

  std::unique_ptr<FastProducts> fast_products_;
  std::unique_ptr<UploadLanes> lanes_;
  std::shared_ptr<ArgumentRings> rings_;
  std::mutex bounce_mutex_;  // guards bounce_
  std::unique_ptr<Bounce> bounce_;

  std::mutex recordings_mutex_;  // guards the two below, and `in_use` and `last_use` of each recording
  std::unordered_map<uint64_t, std::unique_ptr<Recording>> recordings_;
  uint64_t n_recorded_ = 0;

  std::mutex shared_mutex_;
  std::unordered_map<const void*, size_t> shared_bytes_;  // that were asked for, of kernels above the usual

  std::atomic<uint64_t> n_launches_{0};
  std::atomic<const void*> last_kernel_{nullptr};
  std::atomic<const char*> last_operation_{"creation of the device"};
  std::atomic<bool> is_lost_{false};
  std::mutex lost_mutex_;
  std::string lost_reason_;  // written once, before is_lost_
};

// Device memory for kernels that this thread enqueues while the object lives: what one kernel of a stem
// leaves for the next one. Aligned to 256 bytes. Throws working_memory_exhausted, out_of_memory.
class Scratch {
 public:
  Scratch(CudaDevice& device, size_t bytes, const char* label)
      : block_(device.memory().allocate(PoolKind::working, bytes, label)) {}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* as() const {
    return block_.as<T>();
  }

 private:
  Block block_;
};

inline CudaDevice& cuda_device(Device& device) { return static_cast<CudaDevice&>(device); }

// Kernels are loaded into a GPU at their first use, which takes milliseconds. Each file of kernels names its
// own, and a device loads them all when it is made.
class KernelList {
 public:
  KernelList(std::initializer_list<const void*> kernels);  // of static storage: kernel_handle() of each
  static void load_all(CudaDevice& device);
};

}  // namespace nanochat::cuda
