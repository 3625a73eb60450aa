// One block a group: its values pass twice, the second time out of the first-level cache. Floor: 8 bytes a
// value.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/row_sum.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

__global__ void rms_norm_kernel(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_groups,
                                int64_t width, float eps, float gain, const float* weight) {
  __shared__ float place[kWarp];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t row = blockIdx.x / n_groups, group = blockIdx.x % n_groups;
  const float* const in = x + row * ldx + group * width;
  float* const out = y + row * ldy + group * width;
  const float sum = row_sum(width, place, [&](int64_t i) { return in[i] * in[i]; });
  const float factor = gain / sqrtf(sum / static_cast<float>(width) + eps);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    out[i] = in[i] * factor * (weight != nullptr ? weight[i] : 1.0F);
  }
}

const KernelList kKernels{kernel_handle(rms_norm_kernel)};

}  // namespace

void rms_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
              int64_t n_groups, int64_t width, float eps, float gain, const float* weight) {
  if (n_rows * n_groups * width <= 0) return;
  launch(cuda_device(device), {dim3(static_cast<unsigned>(n_rows * n_groups)), threads_for_row(width)},
         rms_norm_kernel, x, ldx, y, ldy, n_groups, width, eps, gain, weight);
}

}  // namespace nanochat::cuda
