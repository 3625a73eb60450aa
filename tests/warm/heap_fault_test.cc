// Loading the fleet while the n-th allocation of the whole program fails: an error, nothing left, and the
// next load succeeds. A load makes tens of thousands; here are the first and then some, at a prime distance.
// NANOCHAT_EXHAUSTIVE=1: every one.
#include <cstdlib>

#include "failing_allocations.h"
#include "warm/sample_fleet_fixture.h"

namespace nanochat {
namespace {

using testing::make_device;
using testing::open_fleet;
using testing::process_facts;

TEST(WarmHeapFaults, EveryAllocationFailsOnce) {
  const std::string manifest = testing::sample_fleet() + "/manifest.json";
  const auto device = make_device();
  const auto live = [&] {
    open_fleet(manifest, device)->warm({});
    device->memory().reclaim();
  };
  live();
  const auto facts = process_facts();
  const bool is_exhaustive = std::getenv("NANOCHAT_EXHAUSTIVE") != nullptr;
  int64_t n_failed = 0;
  for (int64_t n = 0; n < 10'000'000; n += is_exhaustive || n < 100 ? 1 : 211) {
    const int64_t live_before = live_blocks.load();
    std::string message;
    countdown.store(n);
    try {
      live();
    } catch (const Error& error) {
      countdown.store(-1);
      message = error.message();
      EXPECT_NE(error.status(), Status::ok);
    } catch (const std::bad_alloc&) {
      countdown.store(-1);
      message = "bad_alloc";
    }
    const bool reached = countdown.exchange(-1) < 0;
    device->memory().reclaim();
    EXPECT_EQ(device->memory().stats().used_bytes, 0u) << "allocation " << n;
    EXPECT_EQ(process_facts().n_descriptors, facts.n_descriptors) << "allocation " << n;
    EXPECT_EQ(process_facts().n_threads, facts.n_threads) << "allocation " << n;
    if (!message.empty()) ++n_failed;
    message = std::string();
    EXPECT_LE(live_blocks.load(), live_before) << "allocation " << n << " leaks";
    if (::testing::Test::HasFailure()) return;
    if (!reached) {
      EXPECT_GT(n_failed, 100);
      live();
      return;
    }
  }
  FAIL() << "never ran to the end";
}

}  // namespace
}  // namespace nanochat
