#include "linear_mma.cuh"

namespace nanochat::cuda {

namespace {

const KernelList kKernels = MmaLinear<Int8Operands>::kernels();

}  // namespace

void linear_int8(CudaDevice& device, const LinearCall& call) { MmaLinear<Int8Operands>(device, call).run(); }

}  // namespace nanochat::cuda
