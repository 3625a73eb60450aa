#include "kernels/simd/bodies.h"
#include "kernels/simd/vector_avx2.h"
// The bodies need the vectors.
#include "kernels/simd/bodies.inc"

namespace nanochat {

const SimdBodies kAvx2Bodies = kBodies;

}  // namespace nanochat
