#include "tensor/dtype.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace nanochat {
namespace {

// The value of a small float from its definition: sign, exponent and fraction fields.
double value_of(uint16_t bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

void expect_same(double expected, float got, int bits) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(got)) << bits;
  } else {
    EXPECT_EQ(expected, static_cast<double>(got)) << bits;
    EXPECT_EQ(std::signbit(expected), std::signbit(got)) << bits;
  }
}

// The value half way between two neighbours goes to the even one, anything else to the nearer one.
void expect_rounds_to_nearest_even(uint16_t low, double low_value, double high_value,
                                   uint16_t (*from_float)(float)) {
  const double middle = low_value + (high_value - low_value) / 2;
  const auto high = static_cast<uint16_t>(low + 1);
  const float exact = static_cast<float>(middle);
  ASSERT_EQ(static_cast<double>(exact), middle);
  const float away = high_value > 0 ? INFINITY : -INFINITY;
  EXPECT_EQ(from_float(exact), low % 2 == 0 ? low : high) << low;
  EXPECT_EQ(from_float(std::nextafter(exact, away)), high) << low;
  EXPECT_EQ(from_float(std::nextafter(exact, -away)), low) << low;
}

TEST(Bf16, EveryPatternHasTheValueOfItsDefinition) {
  for (int bits = 0; bits < 65536; ++bits) {
    expect_same(value_of(static_cast<uint16_t>(bits), 8, 7), float_from_bf16(static_cast<uint16_t>(bits)),
                bits);
  }
}

// Made by PyTorch: tests/tools/make_f8_cases.py.
TEST(F8, CodesAndFloatsBecomeWhatPyTorchMakesOfThem) {
  std::ifstream file(NANOCHAT_TEST_DATA "/dtype/f8_e4m3.txt");
  std::string kind, first, second;
  int n_codes = 0, n_floats = 0;
  while (file >> kind >> first >> second) {
    const auto a = static_cast<uint32_t>(std::stoul(first, nullptr, 16));
    const auto b = static_cast<uint32_t>(std::stoul(second, nullptr, 16));
    if (kind == "code") {
      const float value = float_from_f8(static_cast<uint8_t>(a));
      const auto expected = std::bit_cast<float>(b);
      EXPECT_TRUE(std::isnan(expected) ? std::isnan(value) : std::bit_cast<uint32_t>(value) == b) << first;
      ++n_codes;
    } else {
      EXPECT_EQ(f8_from_float(std::bit_cast<float>(a)), b) << first;
      ++n_floats;
    }
  }
  EXPECT_EQ(n_codes, 256);
  EXPECT_GT(n_floats, 1000);
}

TEST(F8, NumbersTooLargeSaturateAndNotANumberStays) {
  EXPECT_EQ(f8_from_float(INFINITY), 0x7e);
  EXPECT_EQ(f8_from_float(-INFINITY), 0xfe);
  EXPECT_EQ(f8_from_float(480.0F), 0x7e);
  EXPECT_EQ(f8_from_float(NAN) & 0x7f, 0x7f);
}

TEST(F16, EveryPatternHasTheValueOfItsDefinition) {
  for (int bits = 0; bits < 65536; ++bits) {
    expect_same(value_of(static_cast<uint16_t>(bits), 5, 10), float_from_f16(static_cast<uint16_t>(bits)),
                bits);
  }
}

TEST(Bf16, EveryPatternSurvivesTheWayThroughFloat) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = float_from_bf16(static_cast<uint16_t>(bits));
    const uint16_t back = bf16_from_float(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_from_bf16(back))) << bits;
    } else {
      EXPECT_EQ(back, bits);
    }
  }
}

TEST(F16, EveryPatternSurvivesTheWayThroughFloat) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = float_from_f16(static_cast<uint16_t>(bits));
    const uint16_t back = f16_from_float(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_from_f16(back))) << bits;
    } else {
      EXPECT_EQ(back, bits);
    }
  }
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  for (const int sign : {0, 0x8000}) {
    for (int bits = 0x80; bits < 0x7f7f; ++bits) {  // normal: the half-way point is a float
      const auto low = static_cast<uint16_t>(sign | bits);
      expect_rounds_to_nearest_even(low, value_of(low, 8, 7), value_of(static_cast<uint16_t>(low + 1), 8, 7),
                                    bf16_from_float);
    }
  }
}

TEST(F16, RoundsToTheNearestAndTiesToEven) {
  for (const int sign : {0, 0x8000}) {
    for (int bits = 0; bits < 0x7bff; ++bits) {
      const auto low = static_cast<uint16_t>(sign | bits);
      expect_rounds_to_nearest_even(low, value_of(low, 5, 10),
                                    value_of(static_cast<uint16_t>(low + 1), 5, 10), f16_from_float);
    }
  }
}

TEST(F16, WhatIsTooLargeBecomesInfinity) {
  EXPECT_EQ(f16_from_float(65519.0F), 0x7bff);
  EXPECT_EQ(f16_from_float(65520.0F), 0x7c00);
  EXPECT_EQ(f16_from_float(-1e30F), 0xfc00);
  EXPECT_EQ(f16_from_float(INFINITY), 0x7c00);
}

TEST(F16, WhatIsTooSmallBecomesSignedZero) {
  EXPECT_EQ(f16_from_float(0x1p-26F), 0x0000);
  EXPECT_EQ(f16_from_float(-0x1p-40F), 0x8000);
}

TEST(DType, NamesAndSizesAreThoseOfSafetensors) {
  const struct {
    const char* name;
    DType dtype;
    int64_t size;
  } rows[] = {{"F32", DType::f32, 4},      {"BF16", DType::bf16, 2},       {"F16", DType::f16, 2},
              {"F64", DType::f64, 8},      {"I8", DType::i8, 1},           {"U8", DType::u8, 1},
              {"I16", DType::i16, 2},      {"I32", DType::i32, 4},         {"I64", DType::i64, 8},
              {"BOOL", DType::boolean, 1}, {"F8_E4M3", DType::f8_e4m3, 1}, {"F8_E5M2", DType::f8_e5m2, 1},
              {"U16", DType::u16, 2},      {"U32", DType::u32, 4},         {"U64", DType::u64, 8}};
  for (const auto& row : rows) {
    DType dtype = DType::f32;
    EXPECT_TRUE(dtype_from_name(row.name, dtype)) << row.name;
    EXPECT_EQ(dtype, row.dtype);
    EXPECT_EQ(dtype_name(row.dtype), row.name);
    EXPECT_EQ(dtype_size(row.dtype), row.size);
  }
}

TEST(DType, AnUnknownNameIsRefusedAndLeavesTheResult) {
  DType dtype = DType::i16;
  EXPECT_FALSE(dtype_from_name("f32", dtype));
  EXPECT_FALSE(dtype_from_name("", dtype));
  EXPECT_EQ(dtype, DType::i16);
}

TEST(DType, ANumberThatIsNoTypeIsAnError) { EXPECT_THROW(dtype_size(static_cast<DType>(99)), Error); }

}  // namespace
}  // namespace nanochat
