// One block a row: mean, then the squares of what differs from it, then the values. Floor: 8 bytes a value.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/row_sum.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

__global__ void layer_norm_kernel(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t width,
                                  float eps, const float* weight, const float* bias) {
  __shared__ float place[kWarp], place_of_squares[kWarp];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const float* const in = x + blockIdx.x * ldx;
  float* const out = y + blockIdx.x * ldy;
  const float mean = row_sum(width, place, [&](int64_t i) { return in[i]; }) / static_cast<float>(width);
  const float squares =
      row_sum(width, place_of_squares, [&](int64_t i) { return (in[i] - mean) * (in[i] - mean); });
  const float factor = 1.0F / sqrtf(squares / static_cast<float>(width) + eps);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float scaled = (in[i] - mean) * factor * (weight != nullptr ? weight[i] : 1.0F);
    out[i] = bias != nullptr ? scaled + bias[i] : scaled;
  }
}

const KernelList kKernels{kernel_handle(layer_norm_kernel)};

}  // namespace

void layer_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
                int64_t width, float eps, const float* weight, const float* bias) {
  if (n_rows * width <= 0) return;
  launch(cuda_device(device), {dim3(static_cast<unsigned>(n_rows)), threads_for_row(width)},
         layer_norm_kernel, x, ldx, y, ldy, width, eps, weight, bias);
}

}  // namespace nanochat::cuda
