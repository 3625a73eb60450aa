// Progress and cancellation of everything that can take longer than 100 ms.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/error.h"

namespace nanochat {

// request() is one atomic store: legal in a signal handler and from any thread.
class CancelToken {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  void reset() noexcept { requested_.store(false, std::memory_order_relaxed); }
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);
};

// Where a long operation stands. `stage` is a static string such as "load" or "pack".
struct Progress {
  const char* stage;
  uint64_t done;
  uint64_t total;
};

// What a long operation is given to be watched and stopped by. Copyable, cheap, valid during the call.
struct Watch {
  const CancelToken* cancel = nullptr;
  std::function<bool(const Progress&)> on_progress;  // true: go on; false: stop

  bool stop_requested() const noexcept { return cancel != nullptr && cancel->requested(); }
  void check() const {
    if (stop_requested()) throw Error(Status::cancelled).say("cancelled by the caller");
  }
  // Reports from the calling thread, which must be the one inside the public call.
  void report(const char* stage, uint64_t done, uint64_t total) const {
    check();
    if (on_progress && !on_progress({stage, done, total})) {
      throw Error(Status::cancelled)
          .say("stopped by the progress callback at {} {} of {}", stage, done, total);
    }
  }
};

}  // namespace nanochat
