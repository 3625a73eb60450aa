// The loading of one component on a thread of its own, and what others may know and say about it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>

#include "base/cancel.h"
#include "base/error.h"
#include "warm/component.h"
#include "warm/validation.h"

namespace nanochat {

// Between two looks at switches and clocks.
inline constexpr std::chrono::milliseconds kLoadLook{10};

// Shared by the thread that loads and the one that watches.
class LoadJob {
 public:
  CancelToken cancel;
  std::atomic<uint64_t> bytes{0};

  // Its time, without waiting for its turn.
  void start_clock() { since_ns_.store(now_ns()); }
  void stop_clock() { spent_ns_.fetch_add(now_ns() - since_ns_.exchange(-1)); }
  bool is_over_time(const WarmConfig& config) const;

  // Cancels it when its time is over.
  void stop_if_late(const WarmConfig& config);
  bool is_late() const { return is_late_.load(); }

 private:
  static int64_t now_ns();
  std::atomic<bool> is_late_{false};
  std::atomic<int64_t> spent_ns_{0}, since_ns_{-1};  // -1: the clock stands still
};

struct LoadStages {
  std::function<bool(uint64_t bytes)> on_bytes;
  std::function<void()> on_loaded;
  std::function<void(const TestResult&)> on_tested;
};

// Where a component comes from and goes to.
struct LoadOrder {
  const std::shared_ptr<Device>& device;
  const ComponentSpec& spec;
  const WarmConfig& config;
  const ComponentPlan& plan;  // what was promised to fit
};

// Loads and validates, on the calling thread. `turns` is held while weights are read and the test is run: a
// device's threads serve one loop at a time, so two fillings are no faster than one after the other, and a
// test must not be timed while it waits for a filling. Throws load_timeout besides.
std::unique_ptr<const Component> run_load_job(LoadJob& job, std::mutex& turns, const LoadOrder& order,
                                              const LoadStages& stages);

Error thread_failure(const std::system_error& failure);

// What somebody else is told about a failure of any kind.
Error as_error(const std::exception_ptr& failure);

}  // namespace nanochat
