// What a fleet of ten small models says of itself, from its opening to its end.
#include "warm/health.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "unit/warm/small_fleet.h"
#include "warm/fleet.h"

namespace nanochat::testing {
namespace {

constexpr size_t kComponents = 10;

class FleetHealth : public DeviceTest {
 protected:
  std::shared_ptr<Fleet> open() { return Fleet::open(device_, files_.manifest_path(), {}); }
  std::shared_ptr<Fleet> warm() {
    auto fleet = open();
    fleet->warm({});
    return fleet;
  }
  static const ComponentHealth& entry(const HealthReport& report, std::string_view id) {
    for (const ComponentHealth& component : report.components) {
      if (component.id == id) return component;
    }
    throw std::runtime_error("no component");
  }

  SmallFleet files_;
};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(FleetHealth);

TEST_P(FleetHealth, IsNotInitializedBeforeTheStart) {
  const HealthReport report = check_quick(*open());
  EXPECT_EQ(report.health, Health::not_initialized);
  ASSERT_EQ(report.components.size(), kComponents);
  for (const ComponentHealth& component : report.components) {
    EXPECT_EQ(component.entry.state, WarmState::pending);
    EXPECT_EQ(component.address, 0u);
    EXPECT_EQ(component.allocation_bytes, 0u);
    EXPECT_FALSE(component.entry.test_passed);
  }
  EXPECT_EQ(report.loading_progress, 0);
  EXPECT_EQ(report.metrics.startup_ms, -1);
}

TEST_P(FleetHealth, SaysOfEachWarmComponentWhereItLiesAndThatItPassed) {
  const auto fleet = warm();
  const HealthReport report = check_quick(*fleet);
  EXPECT_EQ(report.health, Health::healthy);
  EXPECT_FALSE(report.is_full);
  EXPECT_EQ(report.timestamp.size(), 24u);
  EXPECT_EQ(report.loading_progress, 1);
  EXPECT_LT(report.estimated_seconds_remaining, 0);
  EXPECT_GE(report.metrics.startup_ms, 0);
  uint64_t sum = 0;
  for (size_t i = 0; i < kComponents; ++i) {
    const ComponentHealth& component = report.components[i];
    SCOPED_TRACE(component.id);
    EXPECT_EQ(component.id, fleet->manifest().components[i].id) << "in the order of the manifest";
    EXPECT_EQ(component.entry.state, WarmState::warm);
    EXPECT_EQ(component.problem, "");
    EXPECT_TRUE(component.entry.test_passed);
    EXPECT_GE(component.entry.last_latency_us, 0);
    EXPECT_EQ(component.allocation_bytes, component.expected_bytes);
    EXPECT_EQ(component.is_resident, has_weights(component.kind));
    EXPECT_EQ(component.address != 0, has_weights(component.kind));
    EXPECT_EQ(component.checksum.size(), has_weights(component.kind) ? 32u : 0u);
    sum += component.allocation_bytes;
  }
  EXPECT_EQ(report.metrics.total_model_bytes, sum);
  EXPECT_EQ(device_->memory().stats().model_bytes, sum) << "what the device says itself";
  EXPECT_EQ(entry(report, "dense").dimension, 24);
  EXPECT_EQ(entry(report, "bits").dimension, 10000);
}

TEST_P(FleetHealth, SaysHowFarTheStartIs) {
  const auto fleet = open();
  double last = 0;
  size_t n_looks = 0, n_between = 0;
  LoadWatch watch;
  watch.on_progress = [&](const LoadProgress&) {
    const HealthReport report = check_quick(*fleet);
    EXPECT_EQ(report.health, Health::loading);
    EXPECT_GE(report.loading_progress, last);
    EXPECT_LE(report.loading_progress, 1);
    EXPECT_FALSE(std::isnan(report.estimated_seconds_remaining));
    EXPECT_EQ(report.metrics.startup_ms, -1);
    last = report.loading_progress;
    ++n_looks;
    n_between += last > 0 && last < 1 ? 1 : 0;
    return true;
  };
  fleet->warm(watch);
  EXPECT_GE(n_looks, 2 * kComponents);
  EXPECT_GT(n_between, 0u);
  EXPECT_EQ(check_quick(*fleet).health, Health::healthy);
}

TEST_P(FleetHealth, RunsNoTestsWhileTheFleetIsNotWarm) {
  const auto fleet = open();
  LoadWatch watch;
  watch.on_progress = [&](const LoadProgress&) {
    EXPECT_FALSE(check_full(*fleet, {}).is_full);
    return true;
  };
  const HealthReport before = check_full(*fleet, {});
  EXPECT_FALSE(before.is_full);
  EXPECT_EQ(before.health, Health::not_initialized);
  fleet->warm(watch);
}

TEST_P(FleetHealth, IsUnhealthyWithTheReasonAfterAComponentFailed) {
  files_.component("roberta")["checksum"] = std::string(32, '0');
  files_.save();
  const auto fleet = open();
  EXPECT_EQ(error_of([&] { fleet->warm({}); }).status(), Status::model_validation_failed);
  const HealthReport report = check_full(*fleet, {});
  EXPECT_EQ(report.health, Health::unhealthy);
  EXPECT_FALSE(report.is_full);
  const ComponentHealth& failed = entry(report, "roberta");
  EXPECT_EQ(failed.entry.state, WarmState::failed);
  EXPECT_EQ(failed.entry.error, Status::model_validation_failed);
  for (const ComponentHealth& component : report.components) EXPECT_EQ(component.address, 0u);
  const Json json = health_json(report);
  EXPECT_EQ(json["status"], "unhealthy");
  EXPECT_EQ(json["models"][1]["status"], "failed");
  EXPECT_EQ(json["models"][1]["error_code"], 103);
  EXPECT_EQ(json["models"][1]["error_message"], failed.entry.message);
}

TEST_P(FleetHealth, IsUnhealthyAfterAStartThatWasRefusedBeforeAnythingWasLoaded) {
  files_.manifest()["config"]["vram_budget_bytes"] = 1000;
  files_.save();
  const auto fleet = open();
  EXPECT_EQ(error_of([&] { fleet->warm({}); }).status(), Status::vram_insufficient_total);
  EXPECT_EQ(check_quick(*fleet).health, Health::unhealthy);
}

TEST_P(FleetHealth, IsNotInitializedAfterTheEnd) {
  const auto fleet = warm();
  fleet->shut_down(std::chrono::seconds(60));
  const HealthReport report = check_full(*fleet, {});
  EXPECT_EQ(report.health, Health::not_initialized);
  EXPECT_FALSE(report.is_full);
  EXPECT_EQ(report.metrics.total_model_bytes, 0u);
  for (const ComponentHealth& component : report.components) {
    EXPECT_EQ(component.address, 0u);
    EXPECT_FALSE(component.is_resident);
  }
}

TEST_P(FleetHealth, RunsTheTestOfEveryComponentInAFullCheck) {
  const auto fleet = warm();
  for (size_t i = 0; i < kComponents; ++i) fleet->record_test(i, 1'000'000'000, "");
  std::vector<uint64_t> told;
  Watch watch;
  watch.on_progress = [&](const Progress& progress) {
    EXPECT_STREQ(progress.stage, "test");
    told.push_back(progress.done);
    EXPECT_EQ(progress.total, kComponents);
    return true;
  };
  const HealthReport report = check_full(*fleet, watch);
  EXPECT_TRUE(report.is_full);
  EXPECT_EQ(report.health, Health::healthy);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_EQ(told.back(), kComponents);
  for (const ComponentHealth& component : report.components) {
    EXPECT_LT(component.entry.last_latency_us, 1'000'000'000) << component.id << " was not run";
    EXPECT_TRUE(component.entry.test_passed) << component.id;
  }
}

// Weights that change under a model that is warm: what a stray write, or a failing memory, does.
TEST_P(FleetHealth, IsDegradedWhenAWarmComponentFailsItsTestAndHealthyAgainAfterwards) {
  const auto fleet = warm();
  for (const char* const id : {"dense", "fusion"}) {
    const auto component = fleet->component(id);
    const auto n_floats = static_cast<int64_t>(component->bytes() / sizeof(float));
    auto* const weights = const_cast<float*>(static_cast<const float*>(component->address()));
    const std::vector<float> saved = on_host(device(), weights, n_floats);
    const std::vector<float> ones(saved.size(), 1.0F);
    device().copy_to_device(weights, ones.data(), ones.size() * sizeof(float));
    const HealthReport report = check_full(*fleet, {});
    EXPECT_EQ(report.health, Health::degraded) << id;
    EXPECT_EQ(entry(report, id).entry.state, WarmState::warm);
    EXPECT_FALSE(entry(report, id).entry.test_passed);
    EXPECT_TRUE(entry(report, id).problem.starts_with("Model validation failed for " + std::string(id)))
        << entry(report, id).problem;
    EXPECT_TRUE(entry(report, "code").entry.test_passed);
    const Json json = health_json(report);
    EXPECT_EQ(json["status"], "degraded");
    const Json& told = std::string(id) == "fusion" ? json["fusemoe"] : json["models"][0];
    EXPECT_EQ(told["model_id"], id);
    EXPECT_EQ(told["status"], "warm_but_failing");
    EXPECT_EQ(told["error_message"], entry(report, id).problem);
    EXPECT_EQ(check_quick(*fleet).health, Health::degraded) << "until a test passes";
    device().copy_to_device(weights, saved.data(), saved.size() * sizeof(float));
    EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
    EXPECT_EQ(check_quick(*fleet).health, Health::healthy);
  }
}

TEST_P(FleetHealth, IsDegradedAndNotGoneWhenThereIsNoMemoryForTheTests) {
  constexpr uint64_t kBudget = uint64_t{1} << 30;
  device_ = make_device(GetParam(), 2, kBudget);
  const auto fleet = warm();
  Memory& memory = device_->memory();
  memory.reclaim();
  {
    const uint64_t rest = kBudget - memory.stats().used_bytes;
    // Less than any test takes is left. Never touched, so it costs address space alone.
    const Block filler = memory.allocate(PoolKind::model, rest - 8192, "filler");
    const HealthReport report = check_full(*fleet, {});
    EXPECT_EQ(report.health, Health::degraded);
    EXPECT_NE(entry(report, "dense").problem.find("working memory"), std::string::npos)
        << entry(report, "dense").problem;
  }
  EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
}

TEST_P(FleetHealth, StopsAFullCheckWhenItIsCancelled) {
  const auto fleet = warm();
  CancelToken cancel;
  cancel.request();
  EXPECT_EQ(error_of([&] { check_full(*fleet, {&cancel, {}}); }).status(), Status::cancelled);
  Watch watch;
  watch.on_progress = [](const Progress& progress) { return progress.done < 3; };
  EXPECT_EQ(error_of([&] { check_full(*fleet, watch); }).status(), Status::cancelled);
  EXPECT_EQ(check_quick(*fleet).health, Health::healthy) << "what was not finished is no failure";
}

// If it waited for either lock, this test would not end.
TEST_P(FleetHealth, IsQuickWhileOthersHoldTheLocksOfTheMemory) {
  const auto fleet = warm();
  const std::lock_guard lock(device_->memory().tracker().mutex());
  EXPECT_EQ(check_quick(*fleet).health, Health::healthy);
}

TEST_P(FleetHealth, CanBeAskedByManyThreadsFromTheOpeningToTheEnd) {
  const auto fleet = open();
  std::atomic<bool> is_over{false};
  std::atomic<int64_t> n_wrong{0}, n_looks{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      Health latest = Health::not_initialized;
      bool was_healthy = false;
      while (!is_over.load()) {
        const HealthReport report = i == 0 ? check_full(*fleet, {}) : check_quick(*fleet);
        // Healthy once, it is never loading, degraded or unhealthy again.
        const bool is_legal = report.health == latest || report.health == Health::healthy ||
                              report.health == Health::not_initialized ||
                              (report.health == Health::loading && !was_healthy);
        if (!is_legal || write_json(health_json(report)).empty()) ++n_wrong;
        latest = report.health;
        was_healthy = was_healthy || latest == Health::healthy;
        ++n_looks;
      }
    });
  }
  const auto look = [&] {
    for (const int64_t until = n_looks + 12; n_looks < until;) std::this_thread::yield();
  };
  look();
  fleet->warm({});
  look();
  for (int round = 0; round < 3; ++round) {
    fleet->replace({.id = "dense", .path = "", .reference = "", .checksum = ""}, {});
    look();
  }
  fleet->shut_down(std::chrono::seconds(60));
  look();
  is_over = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(n_wrong, 0);
  EXPECT_EQ(check_quick(*fleet).health, Health::not_initialized);
}

}  // namespace
}  // namespace nanochat::testing
