// What a device says of its memory; and of the host, held against what the system says.
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "every_device.h"

namespace nanochat::testing {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class DeviceMemory : public EveryDevice {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(DeviceMemory);

class HostMemory : public ::testing::Test {
 protected:
  std::shared_ptr<Device> device_ = make_device("", 1);
  const size_t page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
};

// Of this process, as the kernel counts it.
uint64_t locked_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmLck:") continue;
    uint64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

// Sanitizers take mlock() for nothing.
constexpr bool locks_are_real() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#else
  return true;
#endif
}

TEST_F(HostMemory, FactsOfTheHostNameItsProcessorAndNoGraphics) {
  const DeviceFacts facts = device_->facts();
  EXPECT_NE(facts.hardware, "");
  EXPECT_EQ(facts.hardware.find('\n'), std::string::npos);
  EXPECT_EQ(facts.device_id, 0);
  EXPECT_EQ(std::pair(facts.capability_major, facts.capability_minor), std::pair(0, 0));
  EXPECT_EQ(facts.driver_version, "");
  EXPECT_EQ(facts.cuda_version, "");
  EXPECT_LT(facts.temperature_celsius, 0);
  EXPECT_LT(facts.power_watts, 0);
}

TEST_F(HostMemory, FactsDoNotChange) {
  EXPECT_EQ(device_->facts().hardware, device_->facts().hardware);
  EXPECT_EQ(device_->facts().hardware, make_device("reference", 1)->facts().hardware);
}

TEST_P(DeviceMemory, TotalIsWhatAvailableIsAPartOf) {
  const Memory& memory = device().memory();
  EXPECT_GT(memory.device_total_bytes(), 0u);
  EXPECT_GT(memory.device_available_bytes(), 0u);
  EXPECT_LE(memory.device_available_bytes(), memory.device_total_bytes());
  EXPECT_EQ(memory.device_total_bytes(), memory.stats().device_total_bytes);
}

TEST_P(DeviceMemory, IsResidentWhileItIsHeldAndNotAfterItWasGivenBack) {
  for (const uint64_t bytes : {4 * kMiB, 4 * kMiB + 5000}) {
    Block block = device().memory().allocate(PoolKind::model, bytes, "weights");
    const auto* const data = block.as<std::byte>();
    EXPECT_TRUE(device().is_resident(data, bytes));
    EXPECT_TRUE(device().is_resident(data, 1));
    EXPECT_TRUE(device().is_resident(data + bytes - 1, 1));
    block = Block();
    EXPECT_FALSE(device().is_resident(data, bytes));
  }
}

TEST_P(DeviceMemory, IsResidentForSmallBlocksToo) {
  const Block block = device().memory().allocate(PoolKind::model, 100, "weights");
  EXPECT_TRUE(device().is_resident(block.as<std::byte>(), 100));
}

TEST_P(DeviceMemory, NothingAndNowhereIsNotResident) {
  const Block block = device().memory().allocate(PoolKind::model, 100, "weights");
  EXPECT_FALSE(device().is_resident(nullptr, 0));
  EXPECT_FALSE(device().is_resident(nullptr, 100));
  EXPECT_FALSE(device().is_resident(block.as<std::byte>(), 0));
  EXPECT_FALSE(device().is_resident(reinterpret_cast<const void*>(uintptr_t{16}), 100));
}

TEST_F(HostMemory, IsNotResidentWhenItsEndIsGone) {
  void* const mapped = ::mmap(nullptr, 3 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_TRUE(device_->is_resident(mapped, 3 * page_));
  ASSERT_EQ(::munmap(static_cast<std::byte*>(mapped) + 2 * page_, page_), 0);
  EXPECT_FALSE(device_->is_resident(mapped, 3 * page_));
  EXPECT_TRUE(device_->is_resident(mapped, 2 * page_));
  ::munmap(mapped, 2 * page_);
}

TEST_F(HostMemory, LocksWholePagesAndUnlocksThem) {
  if (!locks_are_real()) GTEST_SKIP() << "not with a sanitizer";
  constexpr uint64_t kBytes = 2 * kMiB;
  const Block block = device_->memory().allocate(PoolKind::model, kBytes, "weights");
  const uint64_t before = locked_bytes();
  if (!device_->lock(block.as<std::byte>(), kBytes)) {
    EXPECT_EQ(locked_bytes(), before);
    GTEST_SKIP() << "the system does not let: ulimit -l";
  }
  EXPECT_EQ(locked_bytes() - before, kBytes);
  device_->unlock(block.as<std::byte>(), kBytes);
  EXPECT_EQ(locked_bytes(), before);
}

TEST_F(HostMemory, LocksNoPageThatHoldsSomethingElse) {
  if (!locks_are_real()) GTEST_SKIP() << "not with a sanitizer";
  const Block block = device_->memory().allocate(PoolKind::model, 2 * kMiB, "weights");
  auto* const data = block.as<std::byte>();
  const uint64_t before = locked_bytes();
  EXPECT_TRUE(device_->lock(data + 1, page_ - 2)) << "no whole page";
  EXPECT_EQ(locked_bytes(), before);
  if (!device_->lock(data + 1, 3 * page_)) GTEST_SKIP() << "the system does not let: ulimit -l";
  EXPECT_EQ(locked_bytes() - before, 2 * page_);
  device_->unlock(data + 1, 3 * page_);
  EXPECT_EQ(locked_bytes(), before);
}

TEST_F(HostMemory, SaysSoWhereTheSystemDoesNotLetItLock) {
  if (!locks_are_real()) GTEST_SKIP() << "not with a sanitizer";
  // Memory that is not there cannot be locked, whatever a process may do.
  void* const mapped = ::mmap(nullptr, 4 * page_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  ASSERT_EQ(::munmap(mapped, 4 * page_), 0);
  EXPECT_FALSE(device_->lock(mapped, 4 * page_));
  device_->unlock(mapped, 4 * page_);
}

}  // namespace
}  // namespace nanochat::testing
