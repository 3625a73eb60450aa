// What a memory remembers for whoever has to find out why a load failed.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "memory/memory.h"
#include "unit/memory/counting_memory.h"

namespace nanochat {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::shared_ptr<Memory> memory_of(uint64_t budget, uint64_t device = 0) {
  MemoryOptions options;
  options.budget_bytes = budget;
  return Memory::create(std::make_shared<CountingMemory>(device), options);
}

// "+weights 1048576 1048576": what happened, to whom, how much, and what was used then.
std::string told(const MemoryEvent& event) {
  return std::string(event.success ? "" : "!") + (event.is_free ? "-" : "+") + event.label + " " +
         std::to_string(event.bytes) + " " + std::to_string(event.used_after);
}

std::vector<std::string> told(const Memory& memory) {
  std::vector<std::string> list;
  for (const MemoryEvent& event : memory.history()) list.push_back(told(event));
  return list;
}

TEST(MemoryHistory, IsEmptyAtFirst) { EXPECT_TRUE(memory_of(0)->history().empty()); }

TEST(MemoryHistory, TellsWhatTheModelPoolTookAndGaveBackInOrder) {
  const auto memory = memory_of(0);
  Block a = memory->allocate(PoolKind::model, kMiB, "a");
  { const Block b = memory->allocate(PoolKind::model, 2 * kMiB, "b"); }
  a = Block();
  EXPECT_EQ(told(*memory), (std::vector<std::string>{"+a 1048576 1048576", "+b 2097152 3145728",
                                                     "-b 2097152 1048576", "-a 1048576 0"}));
}

TEST(MemoryHistory, CountsWhatIsTakenAndNotWhatIsAskedFor) {
  const auto memory = memory_of(0);
  const Block block = memory->allocate(PoolKind::model, 1, "one byte");
  ASSERT_EQ(memory->history().size(), 1u);
  EXPECT_EQ(memory->history()[0].bytes, Memory::allocation_bytes(PoolKind::model, 1));
}

TEST(MemoryHistory, LeavesOutWorkingMemoryWhichComesAndGoesWithEveryRequest) {
  const auto memory = memory_of(0);
  for (int i = 0; i < 10; ++i) memory->allocate(PoolKind::working, kMiB, "scratch");
  memory->reclaim();
  EXPECT_TRUE(memory->history().empty());
  const Block scratch = memory->allocate(PoolKind::working, kMiB, "scratch");
  const Block model = memory->allocate(PoolKind::model, kMiB, "weights");
  EXPECT_EQ(told(*memory), (std::vector<std::string>{"+weights 1048576 2097152"})) << "use is of both pools";
}

TEST(MemoryHistory, TellsWhatWasRefused) {
  const auto memory = memory_of(4 * kMiB);
  const Block held = memory->allocate(PoolKind::model, 3 * kMiB, "held");
  EXPECT_THROW(memory->allocate(PoolKind::model, 2 * kMiB, "too much"), Error);
  EXPECT_THROW(memory->allocate(PoolKind::working, 2 * kMiB, "scratch"), Error);
  EXPECT_EQ(told(*memory), (std::vector<std::string>{"+held 3145728 3145728", "!+too much 2097152 3145728",
                                                     "!+scratch 2097152 3145728"}));
}

TEST(MemoryHistory, TellsWhatTheDeviceDidNotHave) {
  const auto memory = memory_of(0, 4 * kMiB);
  EXPECT_THROW(memory->allocate(PoolKind::model, 8 * kMiB, "weights"), Error);
  EXPECT_EQ(told(*memory), (std::vector<std::string>{"!+weights 8388608 0"}));
}

TEST(MemoryHistory, KeepsTheLastHundred) {
  const auto memory = memory_of(0);
  for (uint64_t i = 1; i <= 130; ++i) memory->allocate(PoolKind::model, i * 64, "block");
  const std::vector<MemoryEvent> events = memory->history();
  ASSERT_EQ(events.size(), Memory::kMostEvents);
  ASSERT_EQ(events.size(), 100u);
  for (size_t i = 0; i < events.size(); ++i) {
    const uint64_t block = 81 + i / 2;  // of 260 events the last 100
    EXPECT_EQ(events[i].bytes, block * 64) << i;
    EXPECT_EQ(events[i].is_free, i % 2 != 0) << i;
  }
}

TEST(MemoryHistory, KnowsWhenItWas) {
  const auto now_ms = [] {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  };
  const int64_t before = now_ms();
  const auto memory = memory_of(0);
  for (int i = 0; i < 3; ++i) memory->allocate(PoolKind::model, 64, "block");
  const int64_t after = now_ms();
  int64_t last = before - 1000;  // its clock is a coarse one
  for (const MemoryEvent& event : memory->history()) {
    EXPECT_GE(event.unix_ms, last);
    EXPECT_LE(event.unix_ms, after);
    last = event.unix_ms;
  }
}

TEST(MemoryHistory, IsWholeWhileManyThreadsAllocate) {
  const auto memory = memory_of(0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) memory->allocate(PoolKind::model, 64, "block");
    });
  }
  for (int i = 0; i < 200; ++i) {
    for (const MemoryEvent& event : memory->history()) {
      ASSERT_STREQ(event.label, "block");
      ASSERT_EQ(event.bytes, 64u);
      ASSERT_LE(event.used_after, 3 * 64u);
    }
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<MemoryEvent> events = memory->history();
  EXPECT_EQ(events.size(), 100u);
  EXPECT_EQ(events.back().used_after, 0u);
}

}  // namespace
}  // namespace nanochat
