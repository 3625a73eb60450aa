// Element types of tensors, and bfloat16 / float16 as storage formats.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace nanochat {

enum class DType : int32_t {
  f32 = 0,
  bf16 = 1,
  f16 = 2,
  f64 = 3,
  i8 = 4,
  u8 = 5,
  i16 = 6,
  i32 = 7,
  i64 = 8,
  boolean = 9,
  f8_e4m3 = 10,
  f8_e5m2 = 11,
  u16 = 12,
  u32 = 13,
  u64 = 14
};

int64_t dtype_size(DType dtype);
std::string_view dtype_name(DType dtype);  // safetensors' spelling: "F32", "BF16", "I64", "BOOL", "F8_E4M3"
bool dtype_from_name(std::string_view name, DType& dtype);

// Round to nearest, ties to even; NaN stays NaN.
[[gnu::always_inline]] inline uint16_t bf16_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

[[gnu::always_inline]] inline float float_from_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// e4m3 without infinities ("fn"): the largest magnitude is 448; 0x7f and 0xff are NaN.
[[gnu::always_inline]] inline float float_from_f8(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80U) << 24;
  const uint32_t rest = code & 0x7fU;
  if (rest == 0x7fU) return std::bit_cast<float>(sign | 0x7fc00000U);
  const float small = static_cast<float>(rest) * 0x1p-9F;
  const float magnitude = rest < 8 ? small : std::bit_cast<float>((rest << 20) + (120U << 23));
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

// Round to nearest, ties to even; what is too large becomes 448; NaN stays NaN.
[[gnu::always_inline]] inline uint8_t f8_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t size = bits & 0x7fffffffU;
  const uint32_t normal = ((size + 0x7ffffU + ((size >> 20) & 1U)) >> 20) - (120U << 3);
  // Below 2^-6 codes are multiples of 2^-9, the last place of a float of 2^14.
  const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0x1p14F) - 0x46800000U;
  const uint32_t rounded = size < 0x3c800000U ? small : normal;
  const uint32_t code = size > 0x7f800000U ? 0x7fU : size >= 0x43e00000U ? 0x7eU : rounded;
  return static_cast<uint8_t>(code | ((bits >> 24) & 0x80U));
}

float float_from_f16(uint16_t bits);
uint16_t f16_from_float(float value);

}  // namespace nanochat
