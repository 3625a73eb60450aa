// linear() of a device that may use a library of matrix products. What every device's linear() is held to is
// in tests/unit/kernels.
#include "device/fast_products.h"

#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "device/cuda_device.h"
#include "kernels/cuda_module.h"

extern "C" std::shared_ptr<nanochat::Device> nanochat_cuda_module_v2(
    const std::string& name, const nanochat::MemoryOptions& memory,
    std::shared_ptr<nanochat::ThreadPool> threads, std::shared_ptr<nanochat::Log> log);

namespace nanochat::cuda {
namespace {

std::shared_ptr<Device> open() {
  return nanochat_cuda_module_v2("cuda", {}, std::make_shared<ThreadPool>(ThreadPool::Options{}),
                                 std::make_shared<Log>());
}

std::vector<float> numbers(size_t n, float step) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = std::sin(step * static_cast<float>(i));
  return values;
}

struct Shape {
  DType dtype;
  int64_t n, k, m, ldx, ldy;
  LinearOutput output;
};

// All of y, which is ones where nothing was written.
std::vector<float> product(Device& device, const Shape& s) {
  Block w = device.memory().allocate(
      PoolKind::model, static_cast<uint64_t>(PackedMatrix::packed_bytes(s.dtype, s.n, s.k)), "w");
  const PackedMatrix matrix{.dtype = s.dtype, .n = s.n, .k = s.k, .data = w.as<void>()};
  device.kernels().pack_rows(device, matrix, 0, s.n, numbers(static_cast<size_t>(s.n * s.k), 0.37F).data(),
                             DType::f32, nullptr);
  const std::vector<float> x_values = numbers(static_cast<size_t>(s.m * s.ldx), 0.61F);
  std::vector<float> y_values(static_cast<size_t>(s.m * s.ldy), 1.0F);
  Block x = device.memory().allocate(PoolKind::model, x_values.size() * 4, "x");
  Block y = device.memory().allocate(PoolKind::model, y_values.size() * 4, "y");
  device.copy_to_device(x.as<void>(), x_values.data(), x_values.size() * 4);
  device.copy_to_device(y.as<void>(), y_values.data(), y_values.size() * 4);
  device.kernels().linear(device, matrix, x.as<float>(), s.ldx, s.m, y.as<float>(), s.ldy, s.output);
  device.synchronize();
  device.copy_to_host(y_values.data(), y.as<void>(), y_values.size() * 4);
  return y_values;
}

TEST(LinearOfALibrary, AgreesWithTheKernelsAndWritesNothingElse) {
  const auto kernels = open(), library = open();
  EXPECT_TRUE(cuda_device(*kernels).is_reproducible());
  cuda_device(*library).use_fast_products();
  ASSERT_FALSE(cuda_device(*library).is_reproducible());
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t n : {40, 72, 130}) {
      for (const LinearOutput output : {LinearOutput::store, LinearOutput::add}) {
        const Shape shape{dtype, n, 264, 70, 272, n + 3, output};
        const std::vector<float> expected = product(*kernels, shape), got = product(*library, shape);
        double difference = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(got[i], expected[i], 1e-4) << i;
          difference += std::abs(static_cast<double>(got[i]) - expected[i]);
          if (static_cast<int64_t>(i) % shape.ldy >= n) {
            ASSERT_EQ(got[i], 1.0F) << i;
          }
        }
        EXPECT_GT(difference, 0) << "the library was not asked";
      }
    }
  }
}

TEST(LinearOfALibrary, FewRowsOddRowsAndOtherWeightsAreTheKernels) {
  const auto kernels = open(), library = open();
  cuda_device(*library).use_fast_products();
  for (const Shape& shape : {Shape{DType::bf16, 72, 264, 63, 264, 72, LinearOutput::store},
                             Shape{DType::bf16, 72, 261, 70, 264, 72, LinearOutput::store},
                             Shape{DType::f32, 72, 262, 70, 264, 72, LinearOutput::store},
                             Shape{DType::f32, 72, 264, 70, 265, 72, LinearOutput::store},
                             Shape{DType::i8, 72, 256, 70, 256, 72, LinearOutput::store},
                             Shape{DType::f8_e4m3, 72, 256, 70, 256, 72, LinearOutput::store}}) {
    EXPECT_EQ(product(*kernels, shape), product(*library, shape));
  }
}

}  // namespace
}  // namespace nanochat::cuda
