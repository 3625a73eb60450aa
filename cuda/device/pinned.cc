#include "device/pinned.h"

namespace nanochat::cuda {

namespace {

[[noreturn]] void refuse(const char* call, cudaError_t code, const char* what, size_t bytes) {
  cudaGetLastError();
  throw Error(Status::out_of_memory)
      .subject(what)
      .field("requested_bytes", static_cast<uint64_t>(bytes))
      .os_code(static_cast<int>(code))
      .say("{} of {} bytes cannot be had: {}", what, bytes, reason_of(call, code));
}

}  // namespace

PinnedBytes::PinnedBytes(size_t bytes) : size_(bytes) {
  void* data = nullptr;
  const cudaError_t code = cudaMallocHost(&data, bytes);
  if (code != cudaSuccess) refuse("cudaMallocHost", code, "pinned host memory", bytes);
  data_ = static_cast<std::byte*>(data);
}

DeviceBytes::DeviceBytes(size_t bytes) {
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, bytes);
  if (code != cudaSuccess) refuse("cudaMalloc", code, "device memory for staging", bytes);
  data_ = static_cast<std::byte*>(data);
}

Event::Event() {
  require_init("cudaEventCreateWithFlags", cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
}

Stream::Stream() {
  require_init("cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

}  // namespace nanochat::cuda
