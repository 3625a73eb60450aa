// How the bodies of the kernel table reach the GPU.
#pragma once

#include <cstddef>
#include <type_traits>

#include <cuda_runtime.h>
#include <hardware/ptx.h>

#include "device/cuda_device.h"

namespace nanochat::cuda {

// Puts a kernel into the device's stream, or into what the calling thread is recording. Pointers among the
// arguments are of this device's memory. Throws what CudaDevice::enqueue() throws.
template <class... Parameters>
void launch(CudaDevice& device, const LaunchShape& shape, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  void* pointers[] = {static_cast<void*>(&arguments)..., nullptr};
  static constexpr size_t kBytes[] = {sizeof(Parameters)..., 0};
  device.enqueue({kernel_handle(kernel), shape, pointers, kBytes, sizeof...(Parameters)});
}

}  // namespace nanochat::cuda
