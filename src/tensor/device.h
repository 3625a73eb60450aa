// A place where tensors live and kernels run. Model code is written against this and kernels.h alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/thread_pool.h"
#include "memory/memory.h"

namespace nanochat {

struct Kernels;

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
  virtual bool is_host() const = 0;  // device pointers can be read by the host

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
std::vector<std::string> available_cpu_isas();  // best last; "reference" first, always there

}  // namespace nanochat
