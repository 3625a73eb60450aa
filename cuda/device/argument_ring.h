// Host arrays that kernels read: ids, positions, tables of pages. Each host thread writes its own ring, so
// that what it staged stays until the kernels that it launches next are in the stream.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "device/context.h"
#include "device/pinned.h"

namespace nanochat::cuda {

class CudaDevice;

class ArgumentRing {
 public:
  explicit ArgumentRing(size_t bytes);

  size_t capacity() const { return pinned_.size(); }
  // Copies the bytes into the ring and from there to its twin in device memory, in the device's stream. Waits
  // only for copies that were staged a whole ring ago. bytes <= capacity() / kParts.
  const void* stage(CudaDevice& device, const void* source, size_t bytes);

  static constexpr size_t kParts = 4;

 private:
  size_t part_bytes() const { return capacity() / kParts; }

  PinnedBytes pinned_;
  DeviceBytes twin_;
  std::array<Event, kParts> ends_;  // of the last use of each part
  size_t at_ = 0;
};

// Rings outlive their device in threads that go on; CUDA frees what is theirs in its context only.
struct DeleteInContext {
  std::shared_ptr<const Context> context;
  void operator()(ArgumentRing* ring) const {
    const UseContext use(*context);
    delete ring;
  }
};
using RingPointer = std::unique_ptr<ArgumentRing, DeleteInContext>;

// The rings of one device that no thread holds now.
class ArgumentRings : public std::enable_shared_from_this<ArgumentRings> {
 public:
  static constexpr size_t kRingBytes = size_t{1} << 20;

  // The calling thread's own, large enough to stage so many bytes at once.
  ArgumentRing& of_this_thread(CudaDevice& device, size_t bytes);

 private:
  friend class ThreadRings;
  std::mutex mutex_;
  std::vector<RingPointer> free_;
};

}  // namespace nanochat::cuda
