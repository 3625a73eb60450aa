// Streams, whose work waits until somebody waits for it. Everything here: under the machine's mutex.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "cuda_runtime_api.h"

struct CUstream_st {
  struct Work {
    std::function<cudaError_t()> run;      // or
    std::shared_ptr<CUstream_st> awaited;  // goes on when that stream has done
    uint64_t ticket = 0;                   // this many works
  };
  int device = 0;
  bool is_default = false, is_blocking = false;
  std::deque<Work> works;
  uint64_t n_enqueued = 0, n_done = 0;
};

namespace nanochat::emulation {

using StreamPointer = std::shared_ptr<CUstream_st>;

// nullptr where there is no such stream. The null handle: the current device's default stream.
StreamPointer find_stream(cudaStream_t);
void enqueue(const StreamPointer&, std::function<cudaError_t()>);
// Runs what the stream's first `ticket` works need, and no more.
void run_until(const StreamPointer&, uint64_t ticket);
inline void run(const StreamPointer& stream) { run_until(stream, stream->n_enqueued); }
void run_all_of(int device);
void drop_streams_of(int device);

}  // namespace nanochat::emulation
