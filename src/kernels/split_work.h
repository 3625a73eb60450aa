// How kernels use the device's threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "tensor/device.h"

namespace nanochat {

// Waking a worker costs as much as moving this many bytes; below it the caller works alone.
constexpr int64_t kBytesWorthAThread = 256 * 1024;

// Runs body(begin, end) over [0, n), in pieces of at least `grain`. `bytes` is what the whole moves, or an
// equivalent of its arithmetic. Results must not depend on how [0, n) is cut.
template <class Body>
void split_work(Device& device, int64_t n, int64_t grain, int64_t bytes, Body&& body) {
  if (n <= 0) return;
  if (bytes < kBytesWorthAThread || n <= grain || device.threads().n_threads() == 1) {
    body(int64_t{0}, n);
    return;
  }
  device.threads().parallel_for(n, grain, body);
}

// Rows so that a piece moves about `piece_bytes`.
inline int64_t rows_per_piece(int64_t row_bytes, int64_t piece_bytes = 64 * 1024) {
  return std::max<int64_t>(1, piece_bytes / std::max<int64_t>(1, row_bytes));
}

// The smallest index that any thread reported, or -1.
class FirstIndex {
 public:
  void report(int64_t index) {
    int64_t seen = first_.load(std::memory_order_relaxed);
    while (index < seen && !first_.compare_exchange_weak(seen, index, std::memory_order_relaxed)) {
    }
  }
  int64_t get() const {
    const int64_t seen = first_.load(std::memory_order_relaxed);
    return seen == INT64_MAX ? -1 : seen;
  }

 private:
  std::atomic<int64_t> first_{INT64_MAX};
};

}  // namespace nanochat
