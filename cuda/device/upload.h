// Weights on their way into device memory: a pinned piece of host memory, its twin on the device, and a
// stream of its own, so that several host threads fill, send and convert at once.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "device/cuda_device.h"
#include "device/pinned.h"

namespace nanochat::cuda {

// One way to the device.
struct UploadLane {
  explicit UploadLane(size_t bytes);
  PinnedBytes pinned;
  PinnedBytes answer;  // one int64
  DeviceBytes twin, answer_twin;
  Stream stream;
  Event order;
};

class UploadLanes {
 public:
  static constexpr size_t kMostLanes = 8;
  static constexpr size_t kLaneBytes = size_t{4} << 20;

  std::unique_ptr<UploadLane> take();  // waits while all are in use
  void give_back(std::unique_ptr<UploadLane> lane);

 private:
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<UploadLane>> free_;
  size_t n_lanes_ = 0;
};

// One chunk, by one thread:
//   Upload upload(device);
//   memcpy(upload.host(), source, bytes); upload.send(bytes);          at most capacity() at once
//   upload.launch(shape, kernel, upload.device(), upload.answer(), ...);
//   const int64_t first = upload.finish();                             waits; *answer(), INT64_MAX until a
//   kernel wrote
// The same again for the next piece of a longer source, before finish() or after.
class Upload {
 public:
  explicit Upload(CudaDevice& device);
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  size_t capacity() const { return UploadLanes::kLaneBytes; }
  std::byte* host();  // free to be written: waits until earlier pieces were sent and used
  const std::byte* device() const { return lane_->twin.data(); }
  int64_t* answer() const {
    return reinterpret_cast<int64_t*>(lane_->answer_twin.data());
  }                                          // device memory; for atomicMin
  void send(size_t bytes);                   // to device()
  void send_to(void* target, size_t bytes);  // as it is

  template <class... Parameters>
  void launch(const LaunchShape& shape, void (*kernel)(Parameters...),
              std::type_identity_t<Parameters>... arguments) {
    void* pointers[] = {static_cast<void*>(&arguments)..., nullptr};
    static constexpr size_t kBytes[] = {sizeof(Parameters)..., 0};
    device_.launch_in(lane_->stream.get(),
                      {kernel_handle(kernel), shape, pointers, kBytes, sizeof...(Parameters)});
  }

  int64_t finish();

  // Between what is in the device's stream now and what will be: for memory that kernels use, too.
  void begin_after(cudaStream_t stream);
  void end_before(cudaStream_t stream);

 private:
  void wait();

  CudaDevice& device_;
  const UseContext use_;
  std::unique_ptr<UploadLane> lane_;
};

}  // namespace nanochat::cuda
