#include "kernels/simd/bodies.h"
#include "kernels/simd/vector_neon.h"
// The bodies need the vectors.
#include "kernels/simd/bodies.inc"

namespace nanochat {

const SimdBodies kNeonDotBodies = kBodies;

}  // namespace nanochat
