#include "kernels/cpu/reference.h"
#include "kernels/rates.h"

namespace nanochat::reference {

namespace {

constexpr int kChains = 64;

int64_t f32_multiply_add(int64_t iterations) {
  volatile float start = 0.5F;
  float sums[kChains];
  const float factor = start;
  for (float& sum : sums) sum = factor;
  for (int64_t i = 0; i < iterations; ++i) {
    for (float& sum : sums) sum = sum * factor + factor;
  }
  for (const float sum : sums) start = sum;
  return iterations * kChains * 2;
}

int64_t bf16_multiply_add(int64_t iterations) {
  volatile uint16_t start = 0x3f00;
  float sums[kChains] = {};
  const uint16_t factor = start;
  for (int64_t i = 0; i < iterations; ++i) {
    for (float& sum : sums) sum = sum * float_from_bf16(factor) + 1.0F;
  }
  for (const float sum : sums) start = bf16_from_float(sum);
  return iterations * kChains * 2;
}

int64_t int8_multiply_add(int64_t iterations) {
  volatile int8_t start = 3;
  int32_t sums[kChains] = {};
  const int8_t factor = start;
  for (int64_t i = 0; i < iterations; ++i) {
    for (int32_t& sum : sums) sum = (sum & 0xffff) * factor + factor;
  }
  for (const int32_t sum : sums) start = static_cast<int8_t>(sum & 0x7f);
  return iterations * kChains * 2;
}

float sum_of(const float* data, int64_t n) {
  float sums[kChains] = {};
  for (int64_t i = 0; i < n; i += kChains) {
    for (int lane = 0; lane < kChains; ++lane) sums[lane] += data[i + lane];
  }
  float total = 0.0F;
  for (const float sum : sums) total += sum;
  return total;
}

}  // namespace

MeasuredRates measure_rates(Device& device) {
  return measure_rates_with(device, {f32_multiply_add, bf16_multiply_add, int8_multiply_add, sum_of});
}

}  // namespace nanochat::reference
