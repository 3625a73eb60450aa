#include "kernels/simd/bodies.h"
#include "kernels/simd/bodies.inc"
#include "kernels/simd/vector_avx2.h"

namespace nanochat {

const SimdBodies kAvx2Bodies = kBodies;

}  // namespace nanochat
