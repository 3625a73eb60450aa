#include "kernels/simd/bodies.h"
#include "kernels/simd/vector_avx512.h"
// The bodies need the vectors.
#include "kernels/simd/bodies.inc"

namespace nanochat {

const SimdBodies kAvx512Bodies = kBodies;

}  // namespace nanochat
