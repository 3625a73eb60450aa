// Of host memory, where the logits are when a sampler asks: the host's own body.
#include "device/cuda_device.h"
#include "stems.h"

namespace nanochat::cuda {

SoftmaxStats softmax_stats(Device& device, const float* x, int64_t n, float scale) {
  Device& host = cuda_device(device).host();
  return host.kernels().softmax_stats(host, x, n, scale);
}

}  // namespace nanochat::cuda
