// Measures what this machine can do, with loops that the caller's ISA supplies.
#pragma once

#include <cstdint>

#include "tensor/kernels.h"

namespace nanochat {

struct RateLoops {
  // Runs `iterations` rounds of independent multiply-adds and returns their number of operations (2 each).
  int64_t (*f32_multiply_add)(int64_t iterations);
  int64_t (*bf16_multiply_add)(int64_t iterations);
  int64_t (*int8_multiply_add)(int64_t iterations);
  // Reads n floats (a multiple of 1024); the sum only keeps the reads alive.
  float (*sum)(const float* data, int64_t n);
};

MeasuredRates measure_rates_with(Device& device, const RateLoops& loops);

}  // namespace nanochat
