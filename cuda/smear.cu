// A block a row: the gate's sum, then the row and the one before it. Floor: 12 bytes a value.
#include <vector>

#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/row_sum.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

struct SmearRow {
  int64_t row;
  const float* before;  // of another pass; nullptr: none, or the row above
  int32_t follows;      // the row above belongs to the same sequence
};

__global__ void smear_kernel(const SmearRow* rows, const float* gate, int64_t n_channels, float lambda,
                             const float* x, float* y, int64_t width) {
  __shared__ float place[kWarp];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const SmearRow row = rows[blockIdx.x];
  const float* const now = x + row.row * width;
  const float* const before = row.follows != 0 ? now - width : row.before;
  const float sum = row_sum(n_channels, place, [&](int64_t i) { return gate[i] * now[i]; });
  const float factor = lambda / (1.0F + expf(-sum));
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    y[row.row * width + i] = before == nullptr ? now[i] : now[i] + factor * before[i];
  }
}

const KernelList kKernels{kernel_handle(smear_kernel)};

}  // namespace

void smear(Device& device, std::span<const SequenceRows> sequences, const float* gate, int64_t n_channels,
           float lambda, const float* x, float* y, int64_t width) {
  std::vector<SmearRow> rows;
  for (const SequenceRows& sequence : sequences) {
    for (int64_t i = 0; i < sequence.n_rows; ++i) {
      rows.push_back({sequence.first_row + i, i == 0 ? sequence.previous : nullptr, i == 0 ? 0 : 1});
    }
  }
  if (rows.empty() || width <= 0) return;
  CudaDevice& gpu = cuda_device(device);
  launch(gpu, {dim3(static_cast<unsigned>(rows.size())), kBlockThreads}, smear_kernel,
         gpu.stage(std::span<const SmearRow>(rows)), gate, n_channels, lambda, x, y, width);
}

}  // namespace nanochat::cuda
