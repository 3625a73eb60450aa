#include "linear_mma.cuh"

namespace nanochat::cuda {

namespace {

const KernelList kKernels = MmaLinear<F8Operands>::kernels();

}  // namespace

void linear_f8(CudaDevice& device, const LinearCall& call) { MmaLinear<F8Operands>(device, call).run(); }

}  // namespace nanochat::cuda
