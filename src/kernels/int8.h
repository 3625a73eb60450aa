// The rounding of int8 products, one value at a time: what every body must agree with to the bit.
#pragma once

#include <bit>
#include <cstdint>

namespace nanochat {

// The scale of a row of weights or of a group of inputs.
[[gnu::always_inline]] inline float int8_scale(float largest) { return largest / 127.0F; }

// Inputs whose largest magnitude is below this count as zeros: 127 / largest must be finite.
constexpr float kLeastInt8Input = 0x1p-120F;

// What a row of weights is divided by; a scale of 0 belongs to zeros, which must stay zeros.
[[gnu::always_inline]] inline float int8_divisor(float scale) { return scale > 0.0F ? scale : 1.0F; }

[[gnu::always_inline]] inline bool is_stored_scale(float scale) {
  return std::bit_cast<uint32_t>(scale) < 0x7f800000U || std::bit_cast<uint32_t>(scale) == 0x80000000U;
}

}  // namespace nanochat
