// The end of a forward pass.
#pragma once

#include "tensor/device.h"

namespace nanochat {

// Memory of a pass must not be given away while the device still works with it, whatever ends the pass.
class SynchronizedScope {
 public:
  explicit SynchronizedScope(Device& device) : device_(device) {}
  ~SynchronizedScope() {
    try {
      device_.synchronize();
    } catch (...) {  // the pass has reported the device's failure, or the next one will
    }
  }
  SynchronizedScope(const SynchronizedScope&) = delete;
  SynchronizedScope& operator=(const SynchronizedScope&) = delete;

 private:
  Device& device_;
};

}  // namespace nanochat
