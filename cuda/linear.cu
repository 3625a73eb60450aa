// y (+)= x w^T for every type of weights. What each output is a sum of, and in which order, is said in
// linear_operands.cuh and linear_f32.cu: not by which kernel, nor by how many rows are asked for.
#include "base/error.h"
#include "linear_plan.h"
#include "stems.h"

namespace nanochat::cuda {

void linear(Device& device, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
            int64_t ldy, LinearOutput output) {
  if (m == 0 || w.n == 0) return;
  if (w.k > kMostInputs) {
    throw Error(Status::unsupported)
        .subject(device.name())
        .say("a matrix has {} inputs, the kernels of CUDA devices take {} at most", w.k, kMostInputs);
  }
  const LinearCall call{w, x, ldx, m, y, ldy, output};
  switch (w.dtype) {
    case DType::bf16:
      return linear_bf16(cuda_device(device), call);
    case DType::f8_e4m3:
      return linear_f8(cuda_device(device), call);
    case DType::i8:
      return linear_int8(cuda_device(device), call);
    default:
      return linear_f32(cuda_device(device), call);
  }
}

}  // namespace nanochat::cuda
