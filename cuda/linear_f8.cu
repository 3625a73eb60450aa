#include "linear_mma.cuh"

namespace nanochat::cuda {

void linear_f8(CudaDevice& device, const LinearCall& call) { MmaLinear<F8Operands>(device, call).run(); }

}  // namespace nanochat::cuda
