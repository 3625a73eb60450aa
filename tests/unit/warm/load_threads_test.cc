// The threads that load: others may ask meanwhile, and one that cannot be started ends the load.
#include <atomic>
#include <cerrno>
#include <thread>

#include <dlfcn.h>
#include <pthread.h>

#include "unit/warm/small_fleet.h"

namespace {

// The number of the thread whose start fails, counted from when it is set; negative: none.
std::atomic<int> failing_thread{-1};

}  // namespace

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define NANOCHAT_THREADS_CAN_FAIL

// Stands before the C library's, for this program.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*start)(void*),
                                                                     void* argument) noexcept {
  if (failing_thread.load() >= 0 && failing_thread.fetch_sub(1) == 0) return EAGAIN;
  static const auto real =
      reinterpret_cast<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
          dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, start, argument);
}
#endif

namespace nanochat::testing {
namespace {

TEST(LoadThreads, LetOthersAskMeanwhile) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 4;
  const auto device = make_device();
  std::atomic<bool> is_over{false};
  std::atomic<int64_t> n_asked{0}, n_answers{0};
  std::thread asker([&] {
    while (!is_over.load()) {
      for (size_t i = 0; i < fleet.registry->size(); ++i) {
        const EntryStatus status = fleet.registry->status(i);
        EXPECT_LE(status.bytes_loaded, fleet.registry->plan(i).file_bytes);
        EXPECT_LE(status.progress_percent, 100);
        const auto held = fleet.registry->acquire(i);
        ++n_asked;
        if (held != nullptr && held->fusion() == nullptr && !held->run_test({}).empty()) ++n_answers;
      }
    }
  });
  for (int i = 0; i < 2; ++i) {
    const PlannedFleet again = files.plan();
    load_fleet(i == 0 ? *fleet.registry : *again.registry, device, fleet.config, {});
  }
  while (n_answers.load() < 3) std::this_thread::yield();
  is_over.store(true);
  asker.join();
  EXPECT_TRUE(fleet.registry->all_warm());
  EXPECT_GT(n_asked.load(), 0);
}

TEST(LoadThreads, WaitForWhoeverStillAsksAComponentOfAFailedStart) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 1;
  const auto device = make_device();
  std::shared_ptr<const Component> held;
  std::thread late;
  LoadWatch watch;
  watch.on_progress = [&](const LoadProgress& progress) {
    if (progress.state != WarmState::warm || held != nullptr) return true;
    held = fleet.registry->acquire(fleet.registry->find(progress.id));
    return false;
  };
  watch.before_release = [&](const Error&) {
    late = std::thread([&] {
      held->run_test({});
      held.reset();
    });
  };
  EXPECT_EQ(error_of([&] { load_fleet(*fleet.registry, device, fleet.config, watch); }).status(),
            Status::cancelled);
  EXPECT_EQ(device->memory().stats().model_bytes, 0U);
  late.join();
}

#ifdef NANOCHAT_THREADS_CAN_FAIL
TEST(LoadThreads, ThatCannotBeStartedEndTheLoadWithNothingLeft) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  fleet.config.n_loading = 3;
  for (int n = 0; n < 3; ++n) {
    const auto device = make_device();
    const PlannedFleet fresh = files.plan();
    failing_thread.store(n);
    const Error error = error_of([&] { load_fleet(*fresh.registry, device, fleet.config, {}); });
    failing_thread.store(-1);
    EXPECT_EQ(error.status(), Status::thread_failed) << n;
    EXPECT_EQ(error.os_code(), EAGAIN);
    EXPECT_EQ(device->memory().stats().used_bytes, 0U);
    EXPECT_EQ(fresh.registry->count(WarmState::warm), 0U);
  }
  const auto device = make_device();
  failing_thread.store(0);
  const Error error = error_of([&] { load_component(device, fleet.spec("dense"), fleet.config, {}); });
  failing_thread.store(-1);
  EXPECT_EQ(error.status(), Status::thread_failed);
  EXPECT_EQ(device->memory().stats().used_bytes, 0U);
}
#endif

}  // namespace
}  // namespace nanochat::testing
