#include "memory/memory.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "memory/callback_memory.h"
#include "unit/memory/counting_memory.h"

namespace nanochat {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

MemoryOptions with_budget(uint64_t bytes) {
  MemoryOptions options;
  options.budget_bytes = bytes;
  return options;
}

template <class F>
Error error_of(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(Status::ok);
}

std::string field_of(const Error& error, const std::string& name) {
  for (const Error::Field& field : error.fields()) {
    if (field.name == name) return field.text;
  }
  return "no field " + name;
}

class BothPools : public testing::TestWithParam<PoolKind> {};
INSTANTIATE_TEST_SUITE_P(Memory, BothPools, testing::Values(PoolKind::model, PoolKind::working));

TEST_P(BothPools, ChargesExactlyWhatItAnnounces) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(0));
  const CounterRandom random(1, 0);
  std::vector<uint64_t> sizes = {0,   1,    63,   64,   65,           255,      256,
                                 257, 4095, 4096, 4097, 2 * kMiB - 1, 2 * kMiB, 2 * kMiB + 1};
  for (uint64_t i = 0; i < 300; ++i) sizes.push_back(random.bits(i) >> (44 + i % 20));
  for (const uint64_t bytes : sizes) {
    memory->reclaim();
    const uint64_t before = raw->used();
    const Block block = memory->allocate(GetParam(), bytes, "test");
    const uint64_t announced = Memory::allocation_bytes(GetParam(), bytes);
    EXPECT_GE(announced, bytes);
    EXPECT_EQ(raw->used() - before, announced) << bytes;
    EXPECT_EQ(memory->stats().used_bytes, announced) << bytes;
    EXPECT_EQ(block.bytes(), bytes);
  }
}

TEST_P(BothPools, WastesAtMostASixteenthOfABlock) {
  for (uint64_t bytes = 1024; bytes < (uint64_t{1} << 40); bytes += bytes / 7 + 1) {
    const uint64_t charged = Memory::allocation_bytes(GetParam(), bytes);
    EXPECT_GE(charged, bytes);
    EXPECT_LE(charged, bytes + bytes / 16 + 64) << bytes;
    EXPECT_EQ(Memory::allocation_bytes(GetParam(), charged), charged)
        << "a full block is a block of its own size";
  }
}

TEST_P(BothPools, AlignsAndCanBeWrittenFromEndToEnd) {
  const auto memory = Memory::create(make_host_memory(), with_budget(0));
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{100}, 2 * kMiB - 1, 2 * kMiB, 5 * kMiB + 3}) {
    const Block block = memory->allocate(GetParam(), bytes, "test");
    const uint64_t alignment = bytes >= 2 * kMiB ? 2 * kMiB : 64;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.as()) % alignment, 0u) << bytes;
    std::memset(block.as(), 0x5A, bytes);
  }
}

TEST_P(BothPools, RefusesWhatDoesNotFitTheBudgetBeforeAskingTheDevice) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(10'240));
  const Block first = memory->allocate(GetParam(), 4096, "first");
  const int64_t calls = raw->n_calls();
  const Error error = error_of([&] { memory->allocate(GetParam(), 8192, "second"); });
  const bool is_model = GetParam() == PoolKind::model;
  EXPECT_EQ(error.status(), is_model ? Status::budget_exceeded : Status::working_memory_exhausted);
  EXPECT_EQ(error.subject(), "second");
  EXPECT_EQ(error.message(),
            std::string(is_model ? "model" : "working") +
                " memory for 'second': needs 8192 bytes, 4096 of the budget of 10240 bytes are used");
  EXPECT_EQ(field_of(error, "requested_bytes"), "8192");
  EXPECT_EQ(field_of(error, "available_bytes"), "6144");
  EXPECT_EQ(raw->n_calls(), calls);
  EXPECT_EQ(memory->stats().used_bytes, 4096u);
  const Block fits = memory->allocate(GetParam(), 6144, "third");
  EXPECT_EQ(memory->stats().used_bytes, 10'240u);
}

TEST_P(BothPools, RefusesSizesThatWrapAround) {
  const auto memory = Memory::create(std::make_shared<CountingMemory>(), with_budget(0));
  for (const uint64_t bytes :
       {~uint64_t{0}, ~uint64_t{0} - 4095, uint64_t{1} << 63, (uint64_t{1} << 60) + 1}) {
    EXPECT_THROW(memory->allocate(GetParam(), bytes, "huge"), Error) << bytes;
  }
  EXPECT_EQ(memory->stats().used_bytes, 0u);
}

TEST_P(BothPools, LeavesEverythingAsItWasWhenTheNthDeviceAllocationFails) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(100 * kMiB));
  // Twice in a row: a failure is tried again after kept blocks were given back.
  for (int64_t n = 0; n < 12; ++n) {
    {
      std::vector<Block> blocks;
      raw->fail_at(n);
      for (uint64_t i = 0; i < 10; ++i)
        blocks.push_back(memory->allocate(GetParam(), (i + 1) * 1000, "test"));
      EXPECT_EQ(memory->stats().used_bytes, raw->used());
    }
    memory->reclaim();
    EXPECT_EQ(raw->used(), 0u) << n;
    EXPECT_EQ(memory->stats().used_bytes, 0u) << n;
    EXPECT_EQ(memory->tracker().metrics().current_bytes, 0u) << n;
  }
}

TEST_P(BothPools, ReportsADeviceThatIsFull) {
  const auto raw = std::make_shared<CountingMemory>(10'000);
  const auto memory = Memory::create(raw, with_budget(0));
  Block first = memory->allocate(GetParam(), 4096, "first");
  const Error error = error_of([&] { memory->allocate(GetParam(), 8192, "second"); });
  EXPECT_EQ(error.status(), Status::out_of_memory);
  EXPECT_EQ(field_of(error, "requested_bytes"), "8192");
  EXPECT_EQ(memory->stats().used_bytes, 4096u);
  EXPECT_EQ(memory->stats().high_water_bytes, 4096u);
  first = Block();
  const Block second = memory->allocate(GetParam(), 8192, "second");  // the kept block made room
  EXPECT_EQ(raw->used(), 8192u);
  EXPECT_EQ(memory->stats().device_total_bytes, 10'000u);
  EXPECT_EQ(memory->stats().device_available_bytes, 10'000u - 8192u);
}

TEST(Memory, ReusesFreedWorkingBlocksAndGivesModelBlocksBack) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(0));
  void* const first = memory->allocate(PoolKind::working, 5000, "a").as();
  EXPECT_EQ(raw->n_calls(), 1);
  EXPECT_GT(memory->stats().reclaimable_bytes, 0u);
  EXPECT_EQ(memory->stats().used_bytes, 0u);
  const Block again = memory->allocate(PoolKind::working, 4990, "b");
  EXPECT_EQ(again.as(), first);
  EXPECT_EQ(raw->n_calls(), 1);
  EXPECT_EQ(memory->stats().reclaimable_bytes, 0u);
  const uint64_t before = raw->used();
  { const Block model = memory->allocate(PoolKind::model, 5000, "c"); }
  EXPECT_EQ(raw->used(), before);
}

TEST(Memory, ReclaimsKeptBlocksUnderBudgetPressureButNeverMoreThanNeeded) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(16 * 1024));
  for (const uint64_t bytes : {4096u, 2048u, 1024u}) {
    Block keep_two_apart = memory->allocate(PoolKind::working, bytes, "a");
  }
  EXPECT_EQ(memory->stats().reclaimable_bytes, 7168u);
  const Block model = memory->allocate(PoolKind::model, 10 * 1024, "b");  // 1 KiB too much
  EXPECT_EQ(memory->stats().reclaimable_bytes, 3072u);                    // the largest went
  EXPECT_EQ(raw->used(), 13'312u);
  EXPECT_EQ(raw->most_used(), 13'312u);
  memory->reclaim();
  EXPECT_EQ(raw->used(), 10'240u);
}

TEST(Memory, DoesNotThrowKeptBlocksAwayForARequestThatCannotFit) {
  const auto memory = Memory::create(std::make_shared<CountingMemory>(), with_budget(10'000));
  { const Block block = memory->allocate(PoolKind::working, 4096, "a"); }
  EXPECT_THROW(memory->allocate(PoolKind::model, 20'000, "b"), Error);
  EXPECT_EQ(memory->stats().reclaimable_bytes, 4096u);
}

TEST(Memory, DoesNotKeepABlockOfEverySizeForEver) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(0));
  constexpr uint64_t kLargest = 100 * kMiB;
  for (uint64_t bytes = kMiB; bytes <= kLargest; bytes += kMiB) {
    const Block block = memory->allocate(PoolKind::working, bytes, "a");
  }
  EXPECT_LE(raw->most_used(), 64 * kMiB + 2 * Memory::allocation_bytes(PoolKind::working, kLargest));
}

TEST(Memory, AnswersWhetherBytesWouldFitWithoutTakingThem) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(10'240));
  { const Block kept = memory->allocate(PoolKind::working, 4096, "a"); }
  memory->require_available(10'240, "plan");
  const Error error = error_of([&] { memory->require_available(10'241, "plan"); });
  EXPECT_EQ(error.status(), Status::budget_exceeded);
  EXPECT_THROW(memory->require_available(~uint64_t{0}, "plan"), Error);
  EXPECT_EQ(raw->used(), 4096u);
  Memory::create(raw, with_budget(0))->require_available(uint64_t{1} << 50, "no budget");
}

TEST(Memory, CountsUsedAndHighWaterBytesByPool) {
  const auto memory = Memory::create(std::make_shared<CountingMemory>(), with_budget(kMiB));
  {
    const Block model = memory->allocate(PoolKind::model, 4096, "a");
    const Block working = memory->allocate(PoolKind::working, 2048, "b");
    const MemoryStats stats = memory->stats();
    EXPECT_EQ(stats.used_bytes, 6144u);
    EXPECT_EQ(stats.model_bytes, 4096u);
    EXPECT_EQ(stats.working_bytes, 2048u);
    EXPECT_EQ(stats.budget_bytes, kMiB);
  }
  EXPECT_EQ(memory->stats().used_bytes, 0u);
  EXPECT_EQ(memory->stats().reclaimable_bytes, 2048u);
  EXPECT_EQ(memory->stats().high_water_bytes, 6144u);
}

TEST(Memory, LivesAsLongAsItsBlocks) {
  Block block, moved;
  {
    const auto memory = Memory::create(make_host_memory(), with_budget(0));
    block = memory->allocate(PoolKind::working, 3 * kMiB, "a");
    const Block dropped = memory->allocate(PoolKind::model, 100, "b");
  }
  std::memset(block.as(), 1, block.bytes());
  moved = std::move(block);
  EXPECT_FALSE(block);
  EXPECT_TRUE(moved);
  Block& same = moved;
  moved = std::move(same);
  EXPECT_EQ(moved.as<uint8_t>()[3 * kMiB - 1], 1);
}

// Four threads ask at once for more than there is: the sum of what they hold never passes the budget, and a
// request is refused only when it really does not fit beside what all of them could hold.
TEST(Memory, HoldsTheBudgetAgainstFourThreads) {
  const auto raw = std::make_shared<CountingMemory>();
  constexpr uint64_t kBudget = 64 * 1024;
  const auto memory = Memory::create(raw, with_budget(kBudget));
  std::atomic<int> refused{0}, wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const CounterRandom random(5, t);
      std::vector<Block> blocks;
      for (uint64_t i = 0; i < 3000; ++i) {
        const uint64_t draw = random.bits(i);
        if (draw % 4 == 0 && !blocks.empty()) blocks.erase(blocks.begin());
        if (draw % 97 == 0) memory->reclaim();
        if (blocks.size() > 6) blocks.clear();
        try {
          const PoolKind pool = draw % 3 == 0 ? PoolKind::model : PoolKind::working;
          blocks.push_back(memory->allocate(pool, (draw >> 8) % 20000, "thread"));
          std::memset(blocks.back().as(), static_cast<int>(t), blocks.back().bytes());
        } catch (const Error& error) {
          ++refused;
          if (error.status() == Status::out_of_memory) ++wrong;
        }
        if (memory->stats().used_bytes > kBudget) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(raw->most_used(), kBudget);
  EXPECT_EQ(memory->stats().high_water_bytes, raw->most_used());
  EXPECT_GT(refused, 0);
  EXPECT_EQ(memory->stats().used_bytes, 0u);
  EXPECT_EQ(memory->tracker().metrics().current_bytes, 0u);
  memory->require_available(kBudget, "all of it");
}

// Each of four threads needs a quarter; kept blocks of other sizes fill the rest and are given back
// meanwhile.
TEST(Memory, NeverRefusesWhatFitsWhileOthersReclaim) {
  const auto raw = std::make_shared<CountingMemory>();
  const auto memory = Memory::create(raw, with_budget(4 * 8192));
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const CounterRandom random(6, t);
      for (uint64_t i = 0; i < 3000; ++i) {
        try {
          const Block block = memory->allocate(PoolKind::working, 1 + random.bits(i) % 8192, "quarter");
        } catch (const Error&) {
          ++refused;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 0);
  EXPECT_LE(raw->most_used(), 4u * 8192u);
}

struct CallbackCounts {
  int allocated = 0, freed = 0;
  bool misalign = false;
};

MemoryCallbacks counting_callbacks(CallbackCounts& counts) {
  MemoryCallbacks callbacks;
  callbacks.user_data = &counts;
  callbacks.allocate = [](size_t bytes, size_t alignment, void* user_data) {
    auto& own = *static_cast<CallbackCounts*>(user_data);
    ++own.allocated;
    auto* const start = static_cast<std::byte*>(std::aligned_alloc(alignment, bytes + 2 * alignment));
    return static_cast<void*>(start + (own.misalign ? 8 : 0));
  };
  callbacks.free = [](void* pointer, size_t, size_t, void* user_data) {
    auto& own = *static_cast<CallbackCounts*>(user_data);
    ++own.freed;
    std::free(static_cast<std::byte*>(pointer) - (own.misalign ? 8 : 0));
  };
  return callbacks;
}

TEST(CallbackMemory, UsesTheCallersAllocatorForEveryBlock) {
  CallbackCounts counts;
  {
    const auto memory =
        Memory::create(std::make_shared<CallbackMemory>(counting_callbacks(counts)), with_budget(0));
    const Block a = memory->allocate(PoolKind::model, 100, "a");
    const Block b = memory->allocate(PoolKind::working, 100, "b");
    EXPECT_EQ(counts.allocated, 2);
  }
  EXPECT_EQ(counts.freed, 2);
}

TEST(CallbackMemory, TakesAMisalignedBlockForNone) {
  CallbackCounts counts;
  counts.misalign = true;
  const auto memory =
      Memory::create(std::make_shared<CallbackMemory>(counting_callbacks(counts)), with_budget(0));
  EXPECT_EQ(error_of([&] { memory->allocate(PoolKind::model, 100, "a"); }).status(), Status::out_of_memory);
  EXPECT_EQ(counts.freed, counts.allocated);
}

TEST(CallbackMemory, NeedsBothCallbacks) {
  CallbackCounts counts;
  MemoryCallbacks callbacks = counting_callbacks(counts);
  callbacks.free = nullptr;
  const Error error = error_of([&] { CallbackMemory memory(callbacks); });
  EXPECT_EQ(error.status(), Status::invalid_argument);
  EXPECT_EQ(error.subject(), "free");
}

TEST(HostMemory, KnowsTheMachine) {
  const auto raw = make_host_memory();
  EXPECT_GT(raw->total_bytes(), 16 * kMiB);
  EXPECT_GT(raw->available_bytes(), 0u);
  EXPECT_LE(raw->available_bytes(), raw->total_bytes());
}

TEST(HostMemory, SaysNoToWhatNoMachineHas) {
  const auto raw = make_host_memory();
  EXPECT_EQ(raw->allocate(size_t{1} << 60, 2 * kMiB), nullptr);
  EXPECT_EQ(raw->allocate(~size_t{0} - 100, 2 * kMiB), nullptr);
}

}  // namespace
}  // namespace nanochat
