// Host memory that the GPU reads and writes by itself, and events in its streams. Used within a UseContext.
#pragma once

#include <cstddef>
#include <utility>

#include <cuda_runtime.h>

#include "device/cuda_error.h"

namespace nanochat::cuda {

class PinnedBytes {
 public:
  PinnedBytes() = default;
  explicit PinnedBytes(size_t bytes);  // throws out_of_memory
  ~PinnedBytes() { cudaFreeHost(data_); }
  PinnedBytes(PinnedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedBytes& operator=(PinnedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Device memory of the module itself: what it needs whatever is loaded. Not the pools', as CUDA's own is not.
class DeviceBytes {
 public:
  explicit DeviceBytes(size_t bytes);  // throws out_of_memory
  ~DeviceBytes() { cudaFree(data_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
};

class Event {
 public:
  Event();
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class Stream {
 public:
  Stream();
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace nanochat::cuda
