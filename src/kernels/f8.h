// The scales of e4m3 weights, for every body the same.
#pragma once

namespace nanochat {

constexpr float kLargestF8 = 448.0F;

[[gnu::always_inline]] inline float f8_scale(float largest) { return largest / kLargestF8; }

// The simd bodies widen codes to values times 2^-8, which is what their bits mean as an f16; sums are
// multiplied by this before their scale.
constexpr float kF8Unit = 256.0F;

}  // namespace nanochat
