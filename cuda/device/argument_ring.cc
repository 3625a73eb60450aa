#include "device/argument_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "device/cuda_device.h"

namespace nanochat::cuda {

namespace {

constexpr size_t kAlignment = 256;

}  // namespace

ArgumentRing::ArgumentRing(size_t bytes) : pinned_(bytes), twin_(bytes) {}

const void* ArgumentRing::stage(CudaDevice& device, const void* source, size_t bytes) {
  const size_t part = at_ / part_bytes();
  size_t begin = at_;
  if (begin + bytes > (part + 1) * part_bytes()) {  // an array lies in one part
    device.record(ends_[part].get());
    const size_t next = (part + 1) % kParts;
    device.wait(ends_[next].get());
    begin = next * part_bytes();
  }
  std::memcpy(pinned_.data() + begin, source, bytes);
  std::byte* const twin = twin_.data() + begin;
  device.copy_async(twin, pinned_.data() + begin, bytes, cudaMemcpyHostToDevice);
  at_ = (begin + bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (at_ >= capacity()) {
    device.record(ends_[kParts - 1].get());
    device.wait(ends_[0].get());
    at_ = 0;
  }
  return twin;
}

// What the calling thread holds, of however many devices; given back when the thread ends.
class ThreadRings {
 public:
  ~ThreadRings() {
    for (Held& held : held_) give_back(held);
  }

  ArgumentRing& find(const std::shared_ptr<ArgumentRings>& rings, CudaDevice& device, size_t bytes) {
    std::erase_if(held_, [](const Held& held) { return held.rings.expired(); });
    const auto found =
        std::ranges::find_if(held_, [&](const Held& held) { return held.rings.lock() == rings; });
    if (found != held_.end() && bytes <= found->ring->capacity() / ArgumentRing::kParts) return *found->ring;
    const size_t wanted = std::bit_ceil(std::max(ArgumentRings::kRingBytes, bytes * ArgumentRing::kParts));
    if (found != held_.end()) {
      device.synchronize();  // kernels may still read the one that is too small
      found->ring = make(device, wanted);
      return *found->ring;
    }
    RingPointer ring;
    {
      const std::lock_guard lock(rings->mutex_);
      if (!rings->free_.empty() && rings->free_.back()->capacity() >= wanted) {
        ring = std::move(rings->free_.back());
        rings->free_.pop_back();
      }
    }
    if (!ring) ring = make(device, wanted);
    held_.push_back({rings, std::move(ring)});
    return *held_.back().ring;
  }

 private:
  struct Held {
    std::weak_ptr<ArgumentRings> rings;
    RingPointer ring;
  };

  static RingPointer make(CudaDevice& device, size_t bytes) {
    return RingPointer(new ArgumentRing(bytes), {device.context()});
  }

  static void give_back(Held& held) {
    const std::shared_ptr<ArgumentRings> rings = held.rings.lock();
    if (!rings) return;
    const std::lock_guard lock(rings->mutex_);
    rings->free_.push_back(std::move(held.ring));
  }

  std::vector<Held> held_;
};

ArgumentRing& ArgumentRings::of_this_thread(CudaDevice& device, size_t bytes) {
  thread_local ThreadRings rings;
  return rings.find(shared_from_this(), device, bytes);
}

}  // namespace nanochat::cuda
