// What only the host as a device does; see devices_test.cc for the rest.
#include <algorithm>

#include "base/error.h"
#include "every_device.h"

namespace nanochat::testing {
namespace {

class CpuDevices : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(CpuDevices);

TEST_P(CpuDevices, CarryTheNameOfTheirInstructionSet) {
  EXPECT_EQ(device().name(), "cpu");
  EXPECT_EQ(device().isa(), GetParam());
  EXPECT_TRUE(device().is_host());
}

TEST_P(CpuDevices, MeasuresRatesOfAPlausibleMachineAndKeepsNoMemory) {
  const MeasuredRates rates = kernels().measure_rates(device());
  EXPECT_GT(rates.read_bytes_per_second, 1e7);
  EXPECT_GT(rates.f32_flops_per_second, 1e7);
  EXPECT_GT(rates.bf16_flops_per_second, 1e6);
  EXPECT_GT(rates.int8_ops_per_second, 1e6);
  EXPECT_LT(rates.int8_ops_per_second, 1e15);
  EXPECT_LT(rates.read_bytes_per_second, 1e13);
  EXPECT_LT(rates.f32_flops_per_second, 1e15);
  EXPECT_EQ(device().memory().stats().reclaimable_bytes, 0U);
}

TEST(CpuDevice, TheReferenceIsAlwaysThereAndFirst) {
  ASSERT_FALSE(available_cpu_isas().empty());
  EXPECT_EQ(available_cpu_isas().front(), "reference");
}

TEST(CpuDevice, NoNamePicksTheBest) { EXPECT_EQ(make_device("", 1)->isa(), available_cpu_isas().back()); }

TEST(CpuDevice, AnUnknownInstructionSetIsRefusedWithTheListOfWhatThereIs) {
  try {
    make_device("sse9", 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
    EXPECT_NE(error.message().find("sse9"), std::string::npos);
    for (const std::string& isa : available_cpu_isas()) {
      EXPECT_NE(error.message().find(isa), std::string::npos) << error.message();
    }
  }
}

TEST(CpuDevice, OneThatThisMachineLacksIsRefused) {
  const std::vector<std::string> available = available_cpu_isas();
  for (const char* isa : {"avx2", "avx512", "avx512_bf16", "neon", "neon_dot", "neon_bf16"}) {
    const bool there = std::find(available.begin(), available.end(), isa) != available.end();
    if (!there) {
      EXPECT_THROW(make_device(isa, 1), Error);
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
