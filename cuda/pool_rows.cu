// A thread a column: the rows of a range pass once, in their order. Floor: 4 bytes a value.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/grid.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

__global__ void pool_rows_kernel(const RowRange* ranges, const float* x, int64_t ldx, int64_t width,
                                 RowPooling pooling, float* y) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const RowRange range = ranges[blockIdx.x];
  const float* const rows = x + range.first * ldx;
  float* const out = y + blockIdx.x * width;
  for (int64_t column = threadIdx.x; column < width; column += blockDim.x) {
    if (range.n <= 0) {
      out[column] = 0.0F;
    } else if (pooling == RowPooling::mean) {
      double sum = 0.0;
      for (int64_t row = 0; row < range.n; ++row) sum += static_cast<double>(rows[row * ldx + column]);
      out[column] = static_cast<float>(sum / static_cast<double>(range.n));
    } else {
      float largest = rows[column];
      for (int64_t row = 1; row < range.n; ++row) {
        const float value = rows[row * ldx + column];
        largest = value <= largest || largest != largest ? largest : value;  // NaN stays
      }
      out[column] = largest;
    }
  }
}

const KernelList kKernels{kernel_handle(pool_rows_kernel)};

}  // namespace

void pool_rows(Device& device, std::span<const RowRange> ranges, const float* x, int64_t ldx, int64_t width,
               RowPooling pooling, float* y) {
  if (ranges.empty() || width <= 0) return;
  CudaDevice& gpu = cuda_device(device);
  launch(gpu, {dim3(static_cast<unsigned>(ranges.size())), kBlockThreads}, pool_rows_kernel,
         gpu.stage(ranges), x, ldx, width, pooling, y);
}

}  // namespace nanochat::cuda
