#include "kernels/simd/bodies.h"
#include "kernels/simd/bodies.inc"
#include "kernels/simd/vector_avx512.h"

namespace nanochat {

const SimdBodies kAvx512Bf16Bodies = kBodies;

}  // namespace nanochat
