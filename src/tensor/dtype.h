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

float float_from_f16(uint16_t bits);
uint16_t f16_from_float(float value);

}  // namespace nanochat
