#include "memory/tracker.h"

#include <cmath>
#include <limits>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "memory/memory.h"
#include "unit/memory/counting_memory.h"

namespace nanochat {
namespace {

int64_t test_time_ns = 0;
int64_t test_clock() { return test_time_ns; }
void wait_ms(int64_t ms) { test_time_ns += ms * 1'000'000; }

std::shared_ptr<Memory> make_memory(TrackerOptions tracker, uint64_t budget = 0) {
  MemoryOptions options;
  options.budget_bytes = budget;
  options.tracker = std::move(tracker);
  return Memory::create(std::make_shared<CountingMemory>(), options);
}

TrackerOptions at_level(TrackingLevel level) {
  TrackerOptions options;
  options.level = level;
  options.now_ns = &test_clock;
  return options;
}

// What a plain list of everything that happened says about it.
struct PlainBooks {
  MemoryMetrics metrics = {};
  std::map<uint64_t, uint64_t> live;  // bytes by id
  void allocate(uint64_t bytes) {
    ++metrics.allocation_count;
    metrics.allocated_bytes_total += bytes;
    metrics.current_bytes += bytes;
    live[metrics.allocation_count] = bytes;
    metrics.peak_bytes = std::max(metrics.peak_bytes, metrics.current_bytes);
    metrics.peak_allocation_count = std::max<uint64_t>(metrics.peak_allocation_count, live.size());
    int bucket = 0;
    for (uint64_t limit = 4096; bucket < 4 && bytes > limit; limit *= 16) ++bucket;
    ++metrics.size_histogram[bucket];
  }
  void free(uint64_t id) {
    ++metrics.free_count;
    metrics.freed_bytes_total += live[id];
    metrics.current_bytes -= live[id];
    live.erase(id);
  }
};

void expect_equal(const MemoryMetrics& a, const MemoryMetrics& b) {
  EXPECT_EQ(a.allocated_bytes_total, b.allocated_bytes_total);
  EXPECT_EQ(a.freed_bytes_total, b.freed_bytes_total);
  EXPECT_EQ(a.current_bytes, b.current_bytes);
  EXPECT_EQ(a.peak_bytes, b.peak_bytes);
  EXPECT_EQ(a.allocation_count, b.allocation_count);
  EXPECT_EQ(a.free_count, b.free_count);
  EXPECT_EQ(a.peak_allocation_count, b.peak_allocation_count);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(a.size_histogram[i], b.size_histogram[i]) << i;
}

class EveryLevel : public testing::TestWithParam<TrackingLevel> {};
INSTANTIATE_TEST_SUITE_P(MemoryTracker, EveryLevel,
                         testing::Values(TrackingLevel::minimal, TrackingLevel::standard,
                                         TrackingLevel::detailed, TrackingLevel::debug));

TEST_P(EveryLevel, AgreesWithAPlainListOfWhatHappened) {
  const auto memory = make_memory(at_level(GetParam()));
  const CounterRandom random(9, 0);
  PlainBooks books;
  std::map<uint64_t, Block> blocks;
  for (uint64_t i = 0; i < 2000; ++i) {
    const uint64_t draw = random.bits(i);
    if (draw % 5 < 2 && !blocks.empty()) {
      const auto victim = std::next(blocks.begin(), static_cast<int64_t>((draw >> 8) % blocks.size()));
      books.free(victim->first);
      blocks.erase(victim);
    } else {
      const uint64_t bytes = (draw >> 20) >> (20 + draw % 24);
      const PoolKind pool = draw % 2 == 0 ? PoolKind::model : PoolKind::working;
      books.allocate(bytes);
      blocks[books.metrics.allocation_count] = memory->allocate(pool, bytes, "test");
    }
  }
  expect_equal(memory->tracker().metrics(), books.metrics);
  if (GetParam() < TrackingLevel::standard) return;
  const auto live = memory->tracker().live_allocations();
  ASSERT_EQ(live.size(), books.live.size());
  auto expected = books.live.begin();
  for (const AllocationRecord& record : live) {
    EXPECT_EQ(record.id, expected->first);
    EXPECT_EQ(record.bytes, expected->second);
    ++expected;
  }
}

TEST(MemoryTracker, SortsSizesAtTheEdgesOfItsHistogram) {
  const auto memory = make_memory(at_level(TrackingLevel::minimal));
  PlainBooks books;
  for (const uint64_t edge : {4096u, 65536u, 1u << 20, 16u << 20}) {
    for (const uint64_t bytes : {edge - 1, edge, edge + 1}) {
      const Block block = memory->allocate(PoolKind::model, bytes, "test");
      books.allocate(bytes);
      books.free(books.metrics.allocation_count);
    }
  }
  expect_equal(memory->tracker().metrics(), books.metrics);
}

TEST(MemoryTracker, KeepsNothingWhenOff) {
  const auto memory = make_memory(at_level(TrackingLevel::off), 1000);
  const Block block = memory->allocate(PoolKind::model, 960, "test");
  expect_equal(memory->tracker().metrics(), MemoryMetrics{});
  EXPECT_TRUE(memory->tracker().live_allocations().empty());
  EXPECT_EQ(memory->stats().used_bytes, 960u);
}

TEST(MemoryTracker, DescribesLiveBlocks) {
  const auto memory = make_memory(at_level(TrackingLevel::standard));
  const Block a = memory->allocate(PoolKind::model, 100, "weights");
  wait_ms(1500);
  const Block b = memory->allocate(PoolKind::working, 200, "logits");
  const auto live = memory->tracker().live_allocations();
  ASSERT_EQ(live.size(), 2u);
  EXPECT_STREQ(live[0].label, "weights");
  EXPECT_EQ(live[0].pool, 0);
  EXPECT_EQ(live[0].age_ms, 1500);
  EXPECT_TRUE(live[0].stack.empty());
  EXPECT_STREQ(live[1].label, "logits");
  EXPECT_EQ(live[1].pool, 1);
  EXPECT_EQ(live[1].age_ms, 0);
}

TEST(MemoryTracker, ReportsAsLeaksWhatLivesLongerThanTheLimit) {
  TrackerOptions options = at_level(TrackingLevel::standard);
  options.leak_age_ms = 1000;
  const auto memory = make_memory(options);
  const Block old = memory->allocate(PoolKind::working, 100, "old");
  { const Block freed = memory->allocate(PoolKind::working, 300, "freed"); }
  wait_ms(1);
  const Block young = memory->allocate(PoolKind::working, 200, "young");
  wait_ms(1000);
  const auto leaks = memory->tracker().leak_report();
  ASSERT_EQ(leaks.size(), 1u);
  EXPECT_STREQ(leaks[0].label, "old");
  EXPECT_EQ(leaks[0].age_ms, 1001);
}

TEST(MemoryTracker, KeepsCallStacksAtLevelDebugOnly) {
  for (const TrackingLevel level : {TrackingLevel::detailed, TrackingLevel::debug}) {
    const auto memory = make_memory(at_level(level));
    const Block block = memory->allocate(PoolKind::working, 100, "test");
    EXPECT_EQ(memory->tracker().live_allocations().at(0).stack.size() > 2, level == TrackingLevel::debug);
  }
}

struct PressureTest : testing::Test {
  std::shared_ptr<Memory> memory(int64_t cooldown_ms, TrackingLevel level = TrackingLevel::standard) {
    TrackerOptions options = at_level(level);
    options.pressure_cooldown_ms = cooldown_ms;
    options.on_pressure = [this](const PressureEvent& event) { events.push_back(event); };
    return make_memory(options, 64'000);  // 1 % is 640 bytes
  }
  static Block percent(const std::shared_ptr<Memory>& memory, uint64_t percent) {
    return memory->allocate(PoolKind::model, percent * 640, "test");
  }
  std::vector<PressureEvent> events;
};

TEST_F(PressureTest, TellsEveryChangeOfLevelAtTheExactByte) {
  const auto memory = this->memory(0);
  std::vector<Block> blocks;
  blocks.push_back(memory->allocate(PoolKind::model, 44'800 - 64, "just below 70 %"));
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(memory->tracker().pressure(), PressureLevel::none);
  for (const uint64_t bytes : {64u, 6400u, 6400u, 3200u})
    blocks.push_back(memory->allocate(PoolKind::model, bytes, "x"));
  ASSERT_EQ(events.size(), 4u);
  const double fractions[] = {0.70, 0.80, 0.90, 0.95};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(static_cast<int>(events[static_cast<size_t>(i)].level), i + 1);
    EXPECT_DOUBLE_EQ(events[static_cast<size_t>(i)].usage_fraction, fractions[i]);
  }
  EXPECT_EQ(events[3].used_bytes, 60'800u);
  EXPECT_EQ(events[3].available_bytes, 3200u);
  EXPECT_EQ(memory->tracker().pressure(), PressureLevel::critical);
  blocks.clear();
  EXPECT_EQ(events.back().level, PressureLevel::none);
}

TEST_F(PressureTest, StaysQuietWhileTheLevelStaysAndDuringTheCooldown) {
  const auto memory = this->memory(30'000);
  const Block most = percent(memory, 75);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].level, PressureLevel::low);
  EXPECT_EQ(events[0].milliseconds_since_last_event, -1);
  wait_ms(60'000);
  { const Block same_level = percent(memory, 4); }
  EXPECT_EQ(events.size(), 1u);
  const Block medium = percent(memory, 6);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].milliseconds_since_last_event, 60'000);
  wait_ms(29'999);
  const Block high = percent(memory, 10);  // within the cooldown: not told
  EXPECT_EQ(events.size(), 2u);
  EXPECT_EQ(memory->tracker().pressure(), PressureLevel::high);
  wait_ms(1);
  const Block small = percent(memory, 1);  // the next event after it brings the news
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[2].level, PressureLevel::high);
  EXPECT_EQ(events[2].milliseconds_since_last_event, 30'000);
}

TEST_F(PressureTest, DoesNotCountKeptBlocksAsPressure) {
  const auto memory = this->memory(0);
  { const Block block = memory->allocate(PoolKind::working, 40'000, "test"); }
  EXPECT_EQ(memory->tracker().pressure(), PressureLevel::none);
  EXPECT_TRUE(events.empty());
}

TEST_F(PressureTest, IsNotToldBelowLevelStandard) {
  const auto memory = this->memory(0, TrackingLevel::minimal);
  const Block block = percent(memory, 99);
  EXPECT_TRUE(events.empty());
}

TEST_F(PressureTest, MayUseTheMemoryFromInsideTheCallbackAndMayThrow) {
  TrackerOptions options = at_level(TrackingLevel::standard);
  options.pressure_cooldown_ms = 0;
  std::weak_ptr<Memory> self;
  int calls = 0;
  options.on_pressure = [&](const PressureEvent&) {
    ++calls;
    if (const auto memory = self.lock()) {
      EXPECT_EQ(memory->stats().used_bytes, calls == 1 ? 48'000u : 0u);
      memory->reclaim();
      const Block inner = memory->allocate(PoolKind::working, 64, "inside");
    }
    throw std::runtime_error("an observer's own problem");
  };
  const auto memory = make_memory(options, 64'000);
  self = memory;
  const Block block = percent(memory, 75);
  EXPECT_TRUE(block);
  EXPECT_EQ(calls, 1);
}

TEST(MemoryTracker, RefusesBadOptionsByName) {
  const auto message_of = [](const TrackerOptions& options) {
    try {
      MemoryTracker tracker(options, 0);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::config_invalid);
      return error.message();
    }
    return std::string();
  };
  const auto with_threshold = [](int i, double value) {
    TrackerOptions options;
    options.pressure_thresholds[i] = value;
    return options;
  };
  EXPECT_EQ(message_of(TrackerOptions()), "");
  for (const double value : {0.0, 1.0, -0.1, 1.5, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_NE(message_of(with_threshold(2, value)).find("pressure_thresholds.high"), std::string::npos)
        << value;
  }
  EXPECT_EQ(message_of(with_threshold(1, 0.7)),
            "memory tracking: pressure_thresholds.medium is 0.7, expected more than 0.7, the one before");
  TrackerOptions options;
  options.pressure_cooldown_ms = 300'001;
  EXPECT_NE(message_of(options).find("pressure_cooldown_ms is 300001"), std::string::npos);
  options = {};
  options.leak_age_ms = -1;
  EXPECT_NE(message_of(options).find("leak_age_ms is -1"), std::string::npos);
  options = {};
  options.level = static_cast<TrackingLevel>(9);
  EXPECT_NE(message_of(options).find("level is 9"), std::string::npos);
}

TEST(MemoryTracker, ExportsWhatItKnowsAsJson) {
  const auto memory = make_memory(at_level(TrackingLevel::detailed), 64'000);
  const Block a = memory->allocate(PoolKind::model, 48'000, "weights");
  { const Block b = memory->allocate(PoolKind::working, 200, "logits"); }
  const Json json = parse_json(memory->tracker().to_json(), "tracker");
  EXPECT_EQ(json["schema"], "nanochat.memory_tracker.1");
  EXPECT_EQ(json["level"], "detailed");
  EXPECT_EQ(json["pressure"], "low");
  EXPECT_EQ(json["current_bytes"], 48'000);
  EXPECT_EQ(json["allocation_count"], 2);
  EXPECT_EQ(json["size_histogram"], Json({1, 1, 0, 0, 0}));
  ASSERT_EQ(json["live"].size(), 1u);
  EXPECT_EQ(json["live"][0]["label"], "weights");
  EXPECT_EQ(json["live"][0]["pool"], "model");
  EXPECT_EQ(json["labels"]["logits"]["current_bytes"], 0);
  EXPECT_EQ(json["labels"]["logits"]["peak_bytes"], 200);
  EXPECT_EQ(json["labels"]["weights"]["allocated_bytes_total"], 48'000);
}

TEST(MemoryTracker, StaysExactUnderFourThreads) {
  const auto memory = make_memory(at_level(TrackingLevel::debug));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < 500; ++i) {
        const Block block =
            memory->allocate(i % 2 == 0 ? PoolKind::working : PoolKind::model, 100 + i, "thread");
        if (i % 50 == 0) {
          EXPECT_GE(memory->tracker().live_allocations().size(), 1u);
          EXPECT_FALSE(memory->tracker().to_json().empty());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const MemoryMetrics metrics = memory->tracker().metrics();
  EXPECT_EQ(metrics.allocation_count, 2000u);
  EXPECT_EQ(metrics.free_count, 2000u);
  EXPECT_EQ(metrics.allocated_bytes_total, 4u * (500u * 100u + 499u * 500u / 2));
  EXPECT_EQ(metrics.current_bytes, 0u);
  EXPECT_LE(metrics.peak_allocation_count, 4u);
}

}  // namespace
}  // namespace nanochat
