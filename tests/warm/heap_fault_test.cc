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
  // Whether the load failed, and whether allocation n was reached.
  struct Outcome {
    bool is_failure, is_reached;
  };
  const auto fail_at = [&](int64_t n) {
    bool is_failure = true;
    countdown.store(n);
    try {
      live();
      is_failure = false;
    } catch (const Error& error) {
      EXPECT_NE(error.status(), Status::ok);
    } catch (const std::bad_alloc&) {
    }
    const bool is_reached = countdown.exchange(-1) < 0;
    device->memory().reclaim();
    return Outcome{is_failure, is_reached};
  };
  const bool is_exhaustive = std::getenv("NANOCHAT_EXHAUSTIVE") != nullptr;
  int64_t n_failed = 0;
  for (int64_t n = 0; n < 10'000'000; n += is_exhaustive || n < 100 ? 1 : 211) {
    const int64_t live_before = live_blocks.load();
    const Outcome outcome = fail_at(n);
    EXPECT_EQ(device->memory().stats().used_bytes, 0u) << "allocation " << n;
    EXPECT_EQ(process_facts().n_descriptors, facts.n_descriptors) << "allocation " << n;
    EXPECT_LE(testing::n_threads_left(facts.n_threads), facts.n_threads) << "allocation " << n;
    if (outcome.is_failure) ++n_failed;
    if (live_blocks.load() > live_before) {
      // What is made once and kept is no leak: the same again must leave nothing more.
      const int64_t live_then = live_blocks.load();
      fail_at(n);
      EXPECT_LE(live_blocks.load(), live_then) << "allocation " << n << " leaks";
    }
    if (::testing::Test::HasFailure()) return;
    if (!outcome.is_reached) {
      EXPECT_GT(n_failed, 100);
      live();
      return;
    }
  }
  FAIL() << "never ran to the end";
}

}  // namespace
}  // namespace nanochat
