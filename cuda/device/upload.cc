#include "device/upload.h"

#include <cstring>

namespace nanochat::cuda {

namespace {

constexpr int64_t kNothingFound = INT64_MAX;

}  // namespace

UploadLane::UploadLane(size_t bytes)
    : pinned(bytes), answer(sizeof(int64_t)), twin(bytes), answer_twin(sizeof(int64_t)) {}

std::unique_ptr<UploadLane> UploadLanes::take() {
  {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [&] { return !free_.empty() || n_lanes_ < kMostLanes; });
    if (!free_.empty()) {
      auto lane = std::move(free_.back());
      free_.pop_back();
      return lane;
    }
    ++n_lanes_;
  }
  try {
    return std::make_unique<UploadLane>(kLaneBytes);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    --n_lanes_;
    given_back_.notify_one();
    throw;
  }
}

void UploadLanes::give_back(std::unique_ptr<UploadLane> lane) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(lane));
  given_back_.notify_one();
}

Upload::Upload(CudaDevice& device)
    : device_(device), use_(*device.context()), lane_(device.upload_lanes().take()) {
  std::memcpy(lane_->answer.data(), &kNothingFound, sizeof kNothingFound);
  device_.check(cudaMemcpyAsync(answer(), lane_->answer.data(), sizeof(int64_t), cudaMemcpyHostToDevice,
                                lane_->stream.get()),
                "copy to device");
}

Upload::~Upload() {
  if (cudaStreamSynchronize(lane_->stream.get()) != cudaSuccess) cudaGetLastError();  // the next call says it
  device_.upload_lanes().give_back(std::move(lane_));
}

void Upload::wait() { device_.check(cudaStreamSynchronize(lane_->stream.get()), "upload of weights"); }

std::byte* Upload::host() {
  wait();
  return lane_->pinned.data();
}

void Upload::send(size_t bytes) { send_to(lane_->twin.data(), bytes); }

void Upload::send_to(void* target, size_t bytes) {
  device_.check(
      cudaMemcpyAsync(target, lane_->pinned.data(), bytes, cudaMemcpyHostToDevice, lane_->stream.get()),
      "copy to device");
}

int64_t Upload::finish() {
  device_.check(cudaMemcpyAsync(lane_->answer.data(), answer(), sizeof(int64_t), cudaMemcpyDeviceToHost,
                                lane_->stream.get()),
                "copy to host");
  wait();
  int64_t first = 0;
  std::memcpy(&first, lane_->answer.data(), sizeof first);
  return first;
}

void Upload::begin_after(cudaStream_t stream) {
  device_.check(cudaEventRecord(lane_->order.get(), stream), "cudaEventRecord");
  device_.check(cudaStreamWaitEvent(lane_->stream.get(), lane_->order.get(), 0), "cudaStreamWaitEvent");
}

void Upload::end_before(cudaStream_t stream) {
  device_.check(cudaEventRecord(lane_->order.get(), lane_->stream.get()), "cudaEventRecord");
  device_.check(cudaStreamWaitEvent(stream, lane_->order.get(), 0), "cudaStreamWaitEvent");
}

}  // namespace nanochat::cuda
