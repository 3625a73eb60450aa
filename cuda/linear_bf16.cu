#include "linear_mma.cuh"

namespace nanochat::cuda {

void linear_bf16(CudaDevice& device, const LinearCall& call) { MmaLinear<Bf16Operands>(device, call).run(); }

}  // namespace nanochat::cuda
