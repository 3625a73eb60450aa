// Loading the fleet while one thing fails: the n-th allocation of the device and all after it (memory asks
// twice), the n-th system call on a file. Each time: an error with the right code, nothing left, and the next
// load succeeds.
#include <atomic>
#include <cerrno>

#include "unit/memory/counting_memory.h"
#include "warm/sample_fleet_fixture.h"

namespace nanochat {
namespace {

using testing::make_device;
using testing::open_fleet;
using testing::process_facts;

const std::string& manifest() {
  static const std::string path = testing::sample_fleet() + "/manifest.json";
  return path;
}

void live_once(const std::shared_ptr<Device>& device) {
  const auto fleet = open_fleet(manifest(), device);
  fleet->warm({});
}

// A process has its threads and descriptors before the first load too.
struct Baseline {
  Baseline() {
    live_once(device);
    facts = process_facts();
  }
  void expect_nothing_left(const std::shared_ptr<Device>& used, int64_t n) const {
    EXPECT_EQ(used->memory().stats().used_bytes, 0u) << n;
    const auto now = process_facts();
    EXPECT_EQ(now.n_descriptors, facts.n_descriptors) << n;
    EXPECT_LE(testing::n_threads_left(facts.n_threads), facts.n_threads) << n;
  }
  std::shared_ptr<Device> device = make_device();
  testing::ProcessFacts facts;
};

TEST(WarmFaults, EveryAllocationOfTheDeviceMayBeTheLast) {
  auto raw = std::make_shared<CountingMemory>();
  const auto device = make_device("", 2, 0, raw);
  live_once(device);
  device->memory().reclaim();
  const auto facts = process_facts();
  for (int64_t n = 0; n < 100000; ++n) {
    raw->fail_from(n);
    try {
      live_once(device);
      raw->fail_from(-1);
      EXPECT_GT(n, 12);
      return;
    } catch (const Error& error) {
      EXPECT_TRUE(error.status() == Status::out_of_memory || error.status() == Status::model_load_failed ||
                  error.status() == Status::vram_allocation_failed)
          << n << ": " << error.message();
    }
    raw->fail_from(-1);
    EXPECT_EQ(device->memory().stats().used_bytes, 0u) << n;
    EXPECT_EQ(process_facts().n_descriptors, facts.n_descriptors) << n;
    device->memory().reclaim();
    live_once(device);
    device->memory().reclaim();
    if (::testing::Test::HasFailure()) return;
  }
  FAIL() << "never ran to the end";
}

TEST(WarmFaults, EverySystemCallOnAFileFailsOnce) {
  const Baseline baseline;
  std::atomic<int64_t> n_calls{0};
  std::atomic<int64_t> fail_at{-1};
  set_file_fault([&](const char* call, const std::string& path) {
    if (path.starts_with("/proc")) return 0;
    const bool is_hit = n_calls.fetch_add(1) == fail_at.load();
    if (!is_hit) return 0;
    return std::string_view(call) == "open" ? EMFILE : EIO;
  });
  live_once(baseline.device);
  const int64_t n_all = n_calls.load();
  EXPECT_GT(n_all, 50);
  int64_t n_refused = 0;
  for (int64_t n = 0; n < n_all; ++n) {
    n_calls.store(0);
    fail_at.store(n);
    try {
      live_once(baseline.device);
    } catch (const Error& error) {
      ++n_refused;
      EXPECT_TRUE(error.status() == Status::model_load_failed ||
                  error.status() == Status::model_file_missing ||
                  error.status() == Status::model_validation_failed || error.status() == Status::file_io ||
                  error.status() == Status::config_invalid)
          << n << ": " << error.message();
    }
    fail_at.store(-1);
    baseline.expect_nothing_left(baseline.device, n);
    if (::testing::Test::HasFailure()) break;
  }
  set_file_fault({});
  // What is tolerated are calls that only ask or close.
  EXPECT_GT(n_refused, n_all / 2);
  live_once(baseline.device);
}

}  // namespace
}  // namespace nanochat
