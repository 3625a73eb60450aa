// A block a row and head: the gate's sum, then the table's row onto v. Floor: 8 bytes a value and the
// table's.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/element.h"
#include "hardware/row_sum.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

struct ValueTable {
  const void* rows;
  DType dtype;
  int64_t n_kv_head, head_dim;
};

__global__ void value_embedding_kernel(const int32_t* ids, ValueTable table, const float* gate,
                                       int64_t n_channels, float scale, const float* x, int64_t ldx, float* v,
                                       int64_t ldv) {
  __shared__ float place[kWarp];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const float* const channels = x + row * ldx;
  const float* const weights = gate + head * n_channels;
  const float sum = row_sum(n_channels, place, [&](int64_t i) { return weights[i] * channels[i]; });
  const float factor = scale / (1.0F + expf(-sum));
  const int64_t source = (ids[row] * table.n_kv_head + head) * table.head_dim;
  float* const target = v + row * ldv + head * table.head_dim;
  for (int64_t i = threadIdx.x; i < table.head_dim; i += blockDim.x) {
    target[i] += factor * element_of(table.rows, table.dtype, source + i);
  }
}

const KernelList kKernels{kernel_handle(value_embedding_kernel)};

}  // namespace

void value_embedding(Device& device, std::span<const int32_t> ids, const void* table, DType dtype,
                     const float* gate, int64_t n_channels, float scale, const float* x, int64_t ldx,
                     float* v, int64_t ldv, int64_t n_kv_head, int64_t head_dim) {
  if (ids.empty() || n_kv_head <= 0) return;
  CudaDevice& gpu = cuda_device(device);
  const dim3 grid(static_cast<unsigned>(ids.size()), static_cast<unsigned>(n_kv_head));
  launch(gpu, {grid, threads_for_row(head_dim)}, value_embedding_kernel, gpu.stage(ids),
         ValueTable{table, dtype, n_kv_head, head_dim}, gate, n_channels, scale, x, ldx, v, ldv);
}

}  // namespace nanochat::cuda
