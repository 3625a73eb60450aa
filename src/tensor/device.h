// A place where tensors live and kernels run. Model code is written against this and kernels.h alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/thread_pool.h"
#include "memory/memory.h"

namespace nanochat {

struct Kernels;

// What there is to say about the hardware. Empty strings and negative numbers: not known, or not there.
struct DeviceFacts {
  int32_t device_id = 0;                               // of several CUDA devices; 0 on the host
  std::string hardware;                                // "AMD EPYC 9R14", "NVIDIA H200"
  int32_t capability_major = 0, capability_minor = 0;  // of CUDA; 0.0 on the host
  std::string driver_version, cuda_version;
  double temperature_celsius = -1.0, power_watts = -1.0;
};

// A GPU that could be a device.
struct CudaDeviceInfo {
  DeviceFacts facts;
  uint64_t total_bytes = 0, available_bytes = 0;
};

// Thread-safe. Pointers handed to kernels are device pointers of this device.
class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;  // "cpu", "cuda:0"
  virtual const std::string& isa() const = 0;   // "avx512_bf16", "sm_90"
  virtual const Kernels& kernels() const = 0;
  virtual void copy_to_device(void* target, const void* source, size_t bytes) = 0;
  virtual void copy_to_host(void* target, const void* source, size_t bytes) = 0;
  virtual void copy(void* target, const void* source, size_t bytes) = 0;  // within the device
  virtual void synchronize() = 0;
  // Runs `body`, which calls kernels of this device and copies within it. A device may remember under `key`
  // what they were, to do it faster when a body asks for the like again; what it does is what body() alone
  // would do.
  virtual void run_recorded(uint64_t /*key*/, const std::function<void()>& body) { body(); }
  // From now on matrix products may take the fastest order of operations for their shape: the bits of a row
  // may depend on the rows beside it. Devices that lose nothing by one fixed order keep it. Before the first
  // kernel.
  virtual void use_fast_products() {}
  virtual bool is_host() const = 0;  // device pointers can be read by the host
  virtual DeviceFacts facts() const = 0;

  // Whether the bytes are this device's own memory now. Without locks.
  virtual bool is_resident(const void* pointer, size_t n_bytes) const noexcept = 0;
  // Makes sure that the system cannot move the bytes out of the device's memory; false: it does not let. What
  // was locked is unlocked before it is freed. Nothing to do on a GPU: true.
  virtual bool lock(const void* pointer, size_t n_bytes) noexcept = 0;
  virtual void unlock(const void* pointer, size_t n_bytes) noexcept = 0;

  Memory& memory() const { return *memory_; }
  ThreadPool& threads() const { return *threads_; }
  Log& log() const { return *log_; }

 protected:
  Device(std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log)
      : memory_(std::move(memory)), threads_(std::move(threads)), log_(std::move(log)) {}

 private:
  std::shared_ptr<Memory> memory_;
  std::shared_ptr<ThreadPool> threads_;
  std::shared_ptr<Log> log_;
};

// The host as a device. `isa`: "" picks the best one of this machine; else one of available_cpu_isas(), and
// anything else throws unsupported naming both. Implemented in kernels/cpu_device.cc.
std::shared_ptr<Device> make_cpu_device(std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads,
                                        std::shared_ptr<Log> log, const std::string& isa);
std::string processor_name();                   // of the host; "": not known
std::vector<std::string> available_cpu_isas();  // best last; "reference" first, always there

}  // namespace nanochat
