// A device for tests: counts what it gave, checks what it gets back, and fails on demand.
#pragma once

#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include <gtest/gtest.h>

#include "memory/raw_memory.h"

namespace nanochat {

class CountingMemory final : public RawMemory {
 public:
  explicit CountingMemory(uint64_t total = 0) : total_(total) {}
  ~CountingMemory() override { EXPECT_TRUE(live_.empty()) << live_.size() << " blocks were not given back"; }

  void* allocate(size_t bytes, size_t alignment) noexcept override {
    const std::lock_guard lock(mutex_);
    const int64_t call = n_calls_++;
    if (call == fail_at_ || (fail_from_ >= 0 && call >= fail_from_) ||
        (total_ != 0 && bytes > total_ - used_))
      return nullptr;
    void* const pointer = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    live_[pointer] = {bytes, alignment};
    used_ += bytes;
    most_used_ = std::max(most_used_, used_);
    return pointer;
  }

  void free(void* pointer, size_t bytes, size_t alignment) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(pointer);
    if (found == live_.end()) {
      ADD_FAILURE() << "freed what was not given";
      return;
    }
    EXPECT_EQ(found->second, std::pair(bytes, alignment));
    live_.erase(found);
    used_ -= bytes;
    std::free(pointer);
  }

  uint64_t total_bytes() const override { return total_; }
  uint64_t available_bytes() const override {
    const std::lock_guard lock(mutex_);
    return total_ - std::min(total_, used_);
  }

  void fail_at(int64_t call) {
    const std::lock_guard lock(mutex_);
    fail_at_ = call;
    n_calls_ = 0;
  }
  // That call and all after it; -1: none.
  void fail_from(int64_t call) {
    const std::lock_guard lock(mutex_);
    fail_from_ = call;
    n_calls_ = 0;
  }
  int64_t n_calls() const { return locked(n_calls_); }
  uint64_t used() const { return locked(used_); }
  uint64_t most_used() const { return locked(most_used_); }

 private:
  template <class T>
  T locked(const T& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }
  mutable std::mutex mutex_;  // guards everything below
  const uint64_t total_;
  std::map<void*, std::pair<size_t, size_t>> live_;
  uint64_t used_ = 0, most_used_ = 0;
  int64_t n_calls_ = 0, fail_at_ = -1, fail_from_ = -1;
};

}  // namespace nanochat
