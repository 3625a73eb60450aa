// What every device is and does, whatever it computes.
#include "every_device.h"

namespace nanochat::testing {
namespace {

class Devices : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(Devices);
class Gpus : public EveryDevice {};
NANOCHAT_ON_A_GPU(Gpus);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Gpus);

TEST_P(Devices, CarryAFullTable) {
  const Kernels& table = kernels();
  void* entries[sizeof(Kernels) / sizeof(void*)];
  std::memcpy(entries, &table, sizeof(Kernels));
  for (const void* entry : entries) EXPECT_NE(entry, nullptr);
}

TEST_P(Devices, SayWhatTheyAre) {
  const DeviceFacts facts = device().facts();
  EXPECT_NE(facts.hardware, "");
  EXPECT_EQ(facts.device_id, 0);
  EXPECT_EQ(facts.hardware, device().facts().hardware);
  if (!is_cuda(GetParam())) return;
  EXPECT_EQ(device().name(), "cuda:0");
  EXPECT_FALSE(device().is_host());
  EXPECT_GE(facts.capability_major, 8);
  EXPECT_EQ(device().isa(), "sm_" + std::to_string(facts.capability_major * 10 + facts.capability_minor));
  EXPECT_NE(facts.driver_version, "");
  EXPECT_NE(facts.cuda_version, "");
}

TEST_P(Devices, CopyBytes) {
  const std::vector<float> source = random_floats(1, 100);
  DeviceArray<float> there(device(), 100), beside(device(), 100);
  std::vector<float> back(100);
  device().copy_to_device(there.data(), source.data(), 400);
  device().copy(beside.data(), there.data(), 400);
  device().copy_to_host(back.data(), beside.data(), 400);
  EXPECT_EQ(back, source);
}

TEST_P(Devices, CopyPartsAndLeaveTheRest) {
  DeviceArray<int8_t> array(device(), 100, 7);
  const std::vector<int8_t> ones(13, 1);
  device().copy_to_device(array.data() + 3, ones.data(), ones.size());
  device().copy(array.data() + 51, array.data() + 2, 9);
  const std::vector<int8_t> all = array.to_host();
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i], (i >= 3 && i < 16) || (i >= 52 && i < 60) ? 1 : 7) << i;
  }
}

TEST_P(Devices, CopyNothingFromNowhere) {
  device().copy_to_device(nullptr, nullptr, 0);
  device().copy_to_host(nullptr, nullptr, 0);
  device().copy(nullptr, nullptr, 0);
}

// More than passes through any buffer on the way at once.
TEST_P(Devices, CopyMoreThanFitsOnTheWay) {
  const auto n = static_cast<size_t>(size(40, 9)) << 20;
  std::vector<uint8_t> source(n);
  for (size_t i = 0; i < n; ++i) source[i] = static_cast<uint8_t>(i * 2654435761U >> 13);
  DeviceArray<uint8_t> there(device(), static_cast<int64_t>(n));
  std::vector<uint8_t> wrong = source;
  device().copy_to_device(there.data(), wrong.data(), n);
  std::fill(wrong.begin(), wrong.end(), uint8_t{0});  // it has been read
  EXPECT_TRUE(there.to_host() == source);
}

// What the host reads is what the kernels before it made, in the order of the calls.
TEST_P(Devices, CopiesAndKernelsKeepTheOrderOfTheCalls) {
  const int64_t n = 1000;
  const std::vector<float> ones(static_cast<size_t>(n), 1.0F);
  DeviceArray<float> x(device(), ones), y(device(), ones);
  for (int i = 0; i < 20; ++i) {
    kernels().scale_add(device(), 1.0F, x.data(), 1.0F, y.data(), n);
    device().copy(x.data(), y.data(), static_cast<size_t>(n) * 4);
  }
  EXPECT_EQ(x.to_host(), std::vector<float>(static_cast<size_t>(n), 0x1p20F));
  device().copy_to_device(x.data(), ones.data(), static_cast<size_t>(n) * 4);
  kernels().scale_add(device(), 3.0F, x.data(), 0.0F, y.data(), n);
  device().copy_to_device(x.data(), y.to_host().data(), static_cast<size_t>(n) * 4);
  EXPECT_EQ(x.to_host(), std::vector<float>(static_cast<size_t>(n), 3.0F));
}

TEST_P(Gpus, MeasuresRatesOfAPlausibleMachine) {
  const MeasuredRates rates = kernels().measure_rates(device());
  EXPECT_GT(rates.read_bytes_per_second, 1e7);
  EXPECT_GT(rates.f32_flops_per_second, 1e7);
  EXPECT_GT(rates.bf16_flops_per_second, 1e6);
  EXPECT_GT(rates.int8_ops_per_second, 1e6);
  EXPECT_LT(rates.int8_ops_per_second, 1e17);
  EXPECT_LT(rates.read_bytes_per_second, 1e14);
  EXPECT_LT(rates.f32_flops_per_second, 1e16);
}

}  // namespace
}  // namespace nanochat::testing
