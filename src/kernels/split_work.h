// How kernels use the device's threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "tensor/device.h"

namespace nanochat {

// Waking a worker costs as much as moving this many bytes; below it the caller works alone.
constexpr int64_t kBytesWorthAThread = 256 * 1024;

// Where pieces end that get shorter and shorter: each takes a share of what the ones before have left, so
// that all threads finish together, whoever was late.
class ShrinkingPieces {
 public:
  static constexpr int64_t kPiecesPerThread = 8;

  ShrinkingPieces(int64_t n, int64_t grain, int64_t n_threads)
      : n_(n),
        grain_(grain),
        n_grains_((n + grain - 1) / grain),
        n_pieces_(std::min(n_grains_, n_threads * kPiecesPerThread)),
        left_(1.0 - 0.5 / static_cast<double>(n_threads)),
        whole_(1.0 - std::pow(left_, static_cast<double>(n_pieces_))) {}

  int64_t count() const { return n_pieces_; }
  int64_t begin(int64_t piece) const {
    if (piece == n_pieces_) return n_;
    const double done = (1.0 - std::pow(left_, static_cast<double>(piece))) / whole_;
    return std::min(n_, static_cast<int64_t>(done * static_cast<double>(n_grains_) + 0.5) * grain_);
  }

 private:
  int64_t n_, grain_, n_grains_, n_pieces_;
  double left_, whole_;  // shares of [0, n)
};

// Runs body(begin, end) over [0, n), in pieces of multiples of `grain`. `bytes` is what the whole moves, or
// an equivalent of its arithmetic. Results must not depend on how [0, n) is cut.
template <class Body>
void split_work(Device& device, int64_t n, int64_t grain, int64_t bytes, Body&& body) {
  if (n <= 0) return;
  const int64_t n_threads = device.threads().n_threads();
  if (bytes < kBytesWorthAThread || n <= grain || n_threads == 1) {
    body(int64_t{0}, n);
    return;
  }
  const ShrinkingPieces pieces(n, grain, n_threads);
  device.threads().parallel_for(pieces.count(), 1, [&](int64_t first, int64_t last) {
    const int64_t begin = pieces.begin(first), end = pieces.begin(last);
    if (begin < end) body(begin, end);
  });
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
