// Places pieces one after another in a block. With base nullptr it only counts, so that sizes and pointers
// come from the same code.
#pragma once

#include <cstdint>

#include "base/checked.h"

namespace nanochat {

class Arena {
 public:
  static constexpr uint64_t kAlignment = 256;

  explicit Arena(void* base) : base_(reinterpret_cast<uintptr_t>(base)) {}

  template <class T>
  T* take(uint64_t n_bytes) {
    const uint64_t offset = used_;
    used_ = round_up(used_ + n_bytes, kAlignment);
    return reinterpret_cast<T*>(base_ + offset);
  }
  uint64_t used() const { return used_; }

 private:
  uintptr_t base_;
  uint64_t used_ = 0;
};

}  // namespace nanochat
