// What surrounds every forward pass.
#pragma once

#include <optional>

#include "base/thread_pool.h"
#include "tensor/device.h"

namespace nanochat {

// The host's threads stay awake between a pass's kernels, where they are what computes. Memory of a pass must
// not be given away while the device still works with it, whatever ends the pass.
class PassScope {
 public:
  explicit PassScope(Device& device) : device_(device) {
    if (device.is_host()) burst_.emplace(device.threads());
  }
  ~PassScope() {
    try {
      device_.synchronize();
    } catch (...) {  // the pass has reported the device's failure, or the next one will
    }
  }
  PassScope(const PassScope&) = delete;
  PassScope& operator=(const PassScope&) = delete;

 private:
  Device& device_;
  std::optional<ThreadPool::Burst> burst_;
};

}  // namespace nanochat
