// The CUDA module's device, on the emulator: what goes into its stream, what is recorded, and what happens
// when CUDA says no.
#include "device/cuda_device.h"

#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "emulation_control.h"
#include "kernels/cuda_module.h"

extern "C" std::shared_ptr<nanochat::Device> nanochat_cuda_module_v2(
    const std::string& name, const nanochat::MemoryOptions& memory,
    std::shared_ptr<nanochat::ThreadPool> threads, std::shared_ptr<nanochat::Log> log);
extern "C" std::vector<nanochat::CudaDeviceInfo> nanochat_cuda_devices_v2();

namespace nanochat::cuda {
namespace {

std::shared_ptr<Device> open(const std::string& name = "cuda", uint64_t budget_bytes = 0) {
  return nanochat_cuda_module_v2(
      name, {budget_bytes, {}}, std::make_shared<ThreadPool>(ThreadPool::Options{}), std::make_shared<Log>());
}

template <class Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(Status::ok);
}

std::string field_of(const Error& error, const std::string& name) {
  for (const Error::Field& field : error.fields()) {
    if (field.name == name) return field.text;
  }
  return "no field " + name;
}

nanochat_emulated_numbers counts() {
  nanochat_emulated_numbers numbers{};
  nanochat_emulated_counts(&numbers);
  return numbers;
}

class CudaDeviceTest : public ::testing::Test {
 protected:
  ~CudaDeviceTest() override {
    device_.reset();
    nanochat_emulated_reset();
  }

  struct Array {
    Block block;
    float* data;
    size_t n;
  };
  Array array(const std::vector<float>& values) {
    Array made{device_->memory().allocate(PoolKind::working, values.size() * sizeof(float), "test"), nullptr,
               values.size()};
    made.data = made.block.as<float>();
    device_->copy_to_device(made.data, values.data(), values.size() * sizeof(float));
    return made;
  }
  std::vector<float> values_of(const Array& array) {
    std::vector<float> values(array.n);
    device_->copy_to_host(values.data(), array.data, array.n * sizeof(float));
    return values;
  }
  void scale_add(float a, const Array& x, float b, const Array& y) {
    device_->kernels().scale_add(*device_, a, x.data, b, y.data, static_cast<int64_t>(y.n));
  }
  void embed(const Array& table, const std::vector<int32_t>& ids, int64_t width, const Array& target) {
    device_->kernels().embed(*device_, table.data, DType::f32, ids, width, target.data);
  }

  std::shared_ptr<Device> device_ = open();
};

TEST_F(CudaDeviceTest, SaysWhatItIs) {
  EXPECT_EQ(device_->name(), "cuda:0");
  EXPECT_EQ(device_->isa(), "sm_90");
  EXPECT_FALSE(device_->is_host());
  const DeviceFacts facts = device_->facts();
  EXPECT_NE(facts.hardware.find("emulator"), std::string::npos) << facts.hardware;
  EXPECT_EQ(facts.capability_major, 9);
  EXPECT_GT(device_->memory().device_total_bytes(), 0u);
}

TEST_F(CudaDeviceTest, CopiesArraysOfAnySizeBothWaysAndWithin) {
  for (const size_t n : {size_t{1}, size_t{3}, size_t{1000}, size_t{262144}, size_t{1000003}}) {
    std::vector<float> values(n);
    std::iota(values.begin(), values.end(), 1.0F);
    const Array from = array(values), to = array(std::vector<float>(n, 0.0F));
    device_->copy(to.data, from.data, n * sizeof(float));
    EXPECT_EQ(values_of(to), values) << n;
  }
}

TEST_F(CudaDeviceTest, KnowsItsOwnMemoryFromOthers) {
  const Array mine = array({1, 2, 3});
  const float other = 0;
  EXPECT_TRUE(device_->is_resident(mine.data, 12));
  EXPECT_FALSE(device_->is_resident(&other, sizeof other));
  EXPECT_FALSE(device_->is_resident(nullptr, 1));
}

TEST_F(CudaDeviceTest, ARecordedPassIsOneLaunchAndComputesWithTheNumbersOfEachTime) {
  const Array table = array({10, 11, 20, 21, 30, 31}), x = array({0, 0}), y = array({1, 1});
  const auto step = [&](float factor, int32_t id) {
    device_->run_recorded(7, [&] {
      embed(table, {id}, 2, x);
      scale_add(factor, x, 1, y);
    });
  };
  step(1, 0);
  EXPECT_EQ(values_of(y), (std::vector<float>{11, 12}));
  const nanochat_emulated_numbers before = counts();
  step(2, 2);
  EXPECT_EQ(values_of(y), (std::vector<float>{71, 74}));
  step(2, 1);
  EXPECT_EQ(values_of(y), (std::vector<float>{111, 116}));
  const nanochat_emulated_numbers after = counts();
  EXPECT_EQ(after.launches, before.launches);
  EXPECT_EQ(after.graph_launches, before.graph_launches + 2);
  EXPECT_EQ(after.kernels_run, before.kernels_run + 4);
}

TEST_F(CudaDeviceTest, APassThatTakesAnotherCourseIsRecordedAnew) {
  const Array x = array({1}), y = array({0});
  for (const int n : {3, 1, 4, 4, 2}) {
    device_->run_recorded(1, [&] {
      for (int i = 0; i < n; ++i) scale_add(1, x, 1, y);
      if (n == 1) device_->copy(x.data, x.data, 4);
    });
  }
  EXPECT_EQ(values_of(y), (std::vector<float>{14}));
}

TEST_F(CudaDeviceTest, APassThatWaitsWithinIsNotRecordedButRight) {
  const Array x = array({1}), y = array({0});
  for (int i = 0; i < 8; ++i) {
    device_->run_recorded(1, [&] {
      scale_add(1, x, 1, y);
      EXPECT_EQ(values_of(y), (std::vector<float>{static_cast<float>(2 * i + 1)}));
      scale_add(1, x, 1, y);
    });
  }
  EXPECT_EQ(values_of(y), (std::vector<float>{16}));
}

TEST_F(CudaDeviceTest, APassThatThrowsLaunchesNothingAndTheNextOneIsRight) {
  const Array x = array({1}), y = array({0});
  const auto pass = [&](float factor, bool fails) {
    device_->run_recorded(1, [&] {
      scale_add(factor, x, 1, y);
      if (fails) throw Error(Status::cancelled);
      scale_add(factor, x, 1, y);
    });
  };
  EXPECT_EQ(error_of([&] { pass(1, true); }).status(), Status::cancelled);
  pass(1, false);
  EXPECT_EQ(error_of([&] { pass(5, true); }).status(), Status::cancelled);
  EXPECT_EQ(values_of(y), (std::vector<float>{2}));
  pass(3, false);
  EXPECT_EQ(values_of(y), (std::vector<float>{8}));
}

TEST_F(CudaDeviceTest, ScratchOfARecordedPassIsNobodyElsesUntilThePassIsInTheStream) {
  const Array x = array({1, 2}), y = array({0, 0});
  device_->run_recorded(1, [&] {
    float* scratch = nullptr;
    {
      const Scratch first(cuda_device(*device_), 8, "test");
      scratch = first.as<float>();
      device_->copy(scratch, x.data, 8);
      device_->kernels().scale_add(*device_, 1, scratch, 1, y.data, 2);
    }
    const Scratch second(cuda_device(*device_), 8, "test");
    EXPECT_NE(second.as<float>(), scratch);
  });
  EXPECT_EQ(values_of(y), (std::vector<float>{1, 2}));
}

TEST_F(CudaDeviceTest, MoreRecordingsThanItKeepsStayRight) {
  const Array x = array({1}), y = array({0});
  for (int round = 0; round < 2; ++round) {
    for (uint64_t key = 0; key < 40; ++key) device_->run_recorded(key, [&] { scale_add(1, x, 1, y); });
  }
  EXPECT_EQ(values_of(y), (std::vector<float>{80}));
}

TEST_F(CudaDeviceTest, WhatThreadsStageStaysUntilTheirKernelsHaveReadIt) {
  constexpr int kRows = 5000, kRounds = 60;  // far more than a ring holds
  std::vector<float> values(kRows);
  std::iota(values.begin(), values.end(), 0.0F);
  const Array table = array(values);
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      const Array target = array(std::vector<float>(kRows, -1.0F));
      for (int round = 0; round < kRounds; ++round) {
        std::vector<int32_t> ids(kRows);
        for (int i = 0; i < kRows; ++i) ids[static_cast<size_t>(i)] = (i * 7 + t + round) % kRows;
        embed(table, ids, 1, target);
        if (round % 10 != 9) continue;
        const std::vector<float> got = values_of(target);
        for (size_t i = 0; i < got.size(); ++i)
          wrong[static_cast<size_t>(t)] += got[i] != static_cast<float>(ids[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(3, 0));
}

TEST_F(CudaDeviceTest, AStagedArrayMayBeLargerThanARing) {
  constexpr int kRows = 400000;
  const Array table = array({5, 6}), target = array(std::vector<float>(kRows, 0.0F));
  std::vector<int32_t> ids(kRows);
  for (int i = 0; i < kRows; ++i) ids[static_cast<size_t>(i)] = i % 2;
  embed(table, ids, 1, target);
  device_->run_recorded(1, [&] { embed(table, ids, 1, target); });
  const std::vector<float> got = values_of(target);
  EXPECT_EQ(got[0], 5);
  EXPECT_EQ(got[kRows - 1], 6);
}

TEST_F(CudaDeviceTest, AKernelThatFailsIsALostContextThatNamesItAndLeavesTheProcessAlive) {
  const Array x = array({1}), y = array({0});
  device_->synchronize();
  nanochat_emulated_fail("kernel", 1, cudaErrorIllegalAddress);
  scale_add(1, x, 1, y);
  const Error error = error_of([&] { device_->synchronize(); });
  EXPECT_EQ(error.status(), Status::cuda_context_lost);
  EXPECT_NE(error.message().find("CUDA context lost: "), std::string::npos) << error.message();
  EXPECT_NE(field_of(error, "reason").find("cudaErrorIllegalAddress"), std::string::npos);
  EXPECT_NE(field_of(error, "last_successful_op").find("scale_add"), std::string::npos)
      << field_of(error, "last_successful_op");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(error_of([&] { scale_add(1, x, 1, y); }).status(), Status::cuda_context_lost);
    EXPECT_EQ(error_of([&] { (void)values_of(y); }).status(), Status::cuda_context_lost);
    EXPECT_EQ(error_of([&] { device_->run_recorded(1, [&] { scale_add(1, x, 1, y); }); }).status(),
              Status::cuda_context_lost);
  }
}

TEST_F(CudaDeviceTest, ModelMemoryThatCannotBeHadIs108WithWhatCudaSays) {
  const Error error =
      error_of([&] { device_->memory().allocate(PoolKind::model, uint64_t{1} << 40, "model weights"); });
  EXPECT_EQ(error.status(), Status::cuda_alloc_failed);
  EXPECT_NE(error.message().find("1099511627776 bytes"), std::string::npos) << error.message();
  EXPECT_NE(field_of(error, "cuda_error").find("cudaErrorMemoryAllocation"), std::string::npos);
  EXPECT_NE(field_of(error, "vram_free"), "0");
  const std::vector<MemoryEvent> events = device_->memory().history();
  ASSERT_FALSE(events.empty());
  EXPECT_FALSE(events.back().success);
}

TEST_F(CudaDeviceTest, GivesEverythingBackWhenItEnds) {
  const uint64_t with_device = counts().device_bytes;
  const std::shared_ptr<Device> other = open();
  EXPECT_GE(counts().device_bytes, with_device);
  device_.reset();
  device_ = other;
  {
    const Array x = array({1}), y = array({0});
    device_->run_recorded(1, [&] { scale_add(1, x, 1, y); });
    EXPECT_EQ(values_of(y), (std::vector<float>{1}));
  }
}

TEST(CudaModule, NoGpuIs106WithTheReason) {
  nanochat_emulated_devices(0);
  const Error error = error_of([] { open(); });
  EXPECT_EQ(error.status(), Status::cuda_init_failed);
  EXPECT_NE(error.message().find("CUDA initialization failed: "), std::string::npos);
  EXPECT_NE(field_of(error, "cuda_error").find("cudaErrorNoDevice"), std::string::npos) << error.message();
  nanochat_emulated_reset();
}

TEST(CudaModule, WhateverCallFailsWhileADeviceIsMadeThereIsNoDeviceAndAClearError) {
  for (const char* function : {"cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaStreamCreateWithFlags",
                               "cudaMallocHost", "cudaEventCreateWithFlags", "cudaFuncGetAttributes"}) {
    nanochat_emulated_fail(function, 1, cudaErrorMemoryAllocation);
    const Error error = error_of([] { open(); });
    EXPECT_NE(error.message().find("cudaErrorMemoryAllocation"), std::string::npos)
        << function << ": " << error.message();
    nanochat_emulated_reset();
    EXPECT_EQ(counts().device_bytes, 0u) << function;
  }
}

TEST(CudaModule, ListsItsGpusAndRefusesNumbersBeyond) {
  nanochat_emulated_devices(3);
  const std::vector<CudaDeviceInfo> devices = nanochat_cuda_devices_v2();
  ASSERT_EQ(devices.size(), 3u);
  EXPECT_EQ(devices[2].facts.device_id, 2);
  EXPECT_EQ(open("cuda:2")->name(), "cuda:2");
  for (const char* name : {"cuda:3", "cuda:-1", "cuda:", "cuda:1x", "cuda:99999999999"}) {
    const Error error = error_of([&] { open(name); });
    EXPECT_EQ(error.status(), Status::invalid_argument) << name;
    EXPECT_NE(error.message().find("0 to 2"), std::string::npos) << error.message();
  }
  nanochat_emulated_reset();
}

}  // namespace
}  // namespace nanochat::cuda
