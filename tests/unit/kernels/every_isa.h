// One test body per operation, run on every instruction set of this machine.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat::testing {

inline std::shared_ptr<Device> make_device(const std::string& isa, int n_threads) {
  ThreadPool::Options options;
  options.n_threads = n_threads;
  return make_cpu_device(Memory::create(make_host_memory(), {}), std::make_shared<ThreadPool>(options),
                         std::make_shared<Log>(), isa);
}

// Numbers that depend on the seed and the index alone.
inline uint64_t mix(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0x9e3779b97f4a7c15U + index * 0xbf58476d1ce4e5b9U + 0x94d049bb133111ebU;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

// Uniform in [-range, range).
inline std::vector<float> random_floats(uint64_t seed, int64_t n, float range = 1.0F) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = range * (static_cast<float>(mix(seed, i) >> 40) * 0x1p-23F - 1.0F);
  }
  return values;
}

inline float rounded_to(DType dtype, float value) {
  if (dtype == DType::bf16) return float_from_bf16(bf16_from_float(value));
  if (dtype == DType::f16) return float_from_f16(f16_from_float(value));
  return value;
}

// `values` as an array of f32, bf16 or f16.
inline std::vector<std::byte> stored_as(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(dtype_size(dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::bf16 ? bf16_from_float(values[i]) : f16_from_float(values[i]);
    if (dtype == DType::f32) {
      std::memcpy(bytes.data() + i * 4, &values[i], 4);
    } else {
      std::memcpy(bytes.data() + i * 2, &half, 2);
    }
  }
  return bytes;
}

inline bool same_bits(const float* a, const float* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(float)) == 0;
}

// A matrix [n, k] packed by the device under test, with its memory.
class Packed {
 public:
  Packed(Device& device, DType dtype, int64_t n, int64_t k, const std::vector<float>& rows)
      : block_(device.memory().allocate(
            PoolKind::model, static_cast<uint64_t>(PackedMatrix::packed_bytes(dtype, n, k)), "test")) {
    matrix_ = {.dtype = dtype, .n = n, .k = k, .data = block_.as<void>()};
    device.kernels().pack_rows(device, matrix_, 0, n, rows.data(), DType::f32, nullptr);
  }
  const PackedMatrix& matrix() const { return matrix_; }

 private:
  Block block_;
  PackedMatrix matrix_;
};

class EveryIsa : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<Device> device_ = make_device(GetParam(), 2);
  Device& device() { return *device_; }
  const Kernels& kernels() { return device_->kernels(); }
};

}  // namespace nanochat::testing

#define NANOCHAT_ON_EVERY_ISA(suite)                                                          \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite, ::testing::ValuesIn(::nanochat::available_cpu_isas()), \
                           [](const auto& parameter) { return parameter.param; })
