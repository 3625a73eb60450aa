// Memory of the emulated GPU with what tests put there, and launches in the default stream.
#pragma once

#include <type_traits>
#include <vector>

#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <hardware/ptx.h>

namespace nanochat::emulation {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : n_(n) {
    void* pointer = nullptr;
    EXPECT_EQ(cudaMalloc(&pointer, n * sizeof(T)), cudaSuccess);
    data_ = static_cast<T*>(pointer);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(n_);
    EXPECT_EQ(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  size_t n_;
  T* data_ = nullptr;
};

struct Shape {
  dim3 grid, block;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};

template <class... Parameters>
cudaError_t launch(const Shape& shape, void (*kernel)(Parameters...),
                   std::type_identity_t<Parameters>... arguments) {
  void* pointers[] = {static_cast<void*>(&arguments)..., nullptr};
  const cudaLaunchConfig_t config{shape.grid, shape.block, shape.shared_bytes, shape.stream, nullptr, 0};
  return cudaLaunchKernelExC(&config, cuda::kernel_handle(kernel), pointers);
}

}  // namespace nanochat::emulation
