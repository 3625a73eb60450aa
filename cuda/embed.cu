// Rows of a table, widened to fp32: a block a row.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/element.h"
#include "hardware/grid.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

__global__ void embed_kernel(const void* table, DType dtype, const int32_t* ids, int64_t width,
                             float* target) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t row = blockIdx.x, id = ids[row];
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    target[row * width + i] = element_of(table, dtype, id * width + i);
  }
}

const KernelList kKernels{kernel_handle(embed_kernel)};

}  // namespace

void embed(Device& device, const void* table, DType dtype, std::span<const int32_t> ids, int64_t width,
           float* target) {
  if (ids.empty() || width <= 0) return;
  CudaDevice& gpu = cuda_device(device);
  launch(gpu, {dim3(static_cast<unsigned>(ids.size())), kBlockThreads}, embed_kernel, table, dtype,
         gpu.stage(ids), width, target);
}

}  // namespace nanochat::cuda
