#include "linear_mma.cuh"

namespace nanochat::cuda {

namespace {

const KernelList kKernels = MmaLinear<Bf16Operands>::kernels();

}  // namespace

void linear_bf16(CudaDevice& device, const LinearCall& call) { MmaLinear<Bf16Operands>(device, call).run(); }

}  // namespace nanochat::cuda
