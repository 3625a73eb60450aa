// Many generations at once: a queue, the sequences that run, and events by pull.
//
// There are no threads of its own: who waits for an event takes the driver's seat and runs passes until it
// has come; others who wait meanwhile sleep. Events of a request are what a Generation with a session of its
// own would give, bit for bit.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "infer/batch_engine.h"
#include "infer/batch_request.h"

namespace nanochat {

struct BatchSchedulerOptions {
  // kv_budget_bytes 0: max_running sequences of sequence_len, but at most half of the memory
  BatchEngineOptions engine;
  std::optional<uint64_t> prefix_cache_bytes;  // none: all that requests leave; 0: nothing is shared
  int32_t max_running = 32;
  int32_t max_waiting = 1024;
  int64_t max_unread = 4096;  // a request with so many events that nobody took pauses
};

struct BatchSchedulerUsage {
  BatchCounts counts;
  int64_t n_submitted = 0, n_waiting = 0, n_running = 0, n_ended = 0, n_failed = 0;  // ended: well or failed
  uint64_t kv_budget_bytes = 0, kv_promised_bytes = 0, prefix_cache_bytes = 0;
  int64_t n_prefix_evictions = 0;
};

// Every function may be called from any thread at any time, but each request's next() and forget() from one
// at a time.
class BatchScheduler {
 public:
  BatchScheduler(std::shared_ptr<const Model> model, BatchSchedulerOptions options);
  ~BatchScheduler();

  // A request that waits to be queued. Statuses: those of Generation, and budget_exceeded (it could never
  // run).
  std::shared_ptr<BatchRequest> make_request(std::shared_ptr<const Tokenizer> tokenizer,
                                             std::vector<int32_t> prompt, GenerationOptions options,
                                             const BatchRequestOptions& request) const;
  // Puts it into the queue, once; computes nothing. From here on next_of_any() may give it to anyone. Throws
  // queue_full.
  void submit(const std::shared_ptr<BatchRequest>& request);

  // The request's next event. The last one has finish != none; it is `error` if the request failed, alone,
  // for a reason that failure() tells. It is repeated without text. An error that is thrown is of this call,
  // mostly for want of memory, and of no request: call again. invalid_state: the request waits in the queue
  // while all that run are paused.
  GenerationEvent next(BatchRequest& request);

  // The next event of whichever request has one, and which; nullptr if after `wait_seconds` there is still
  // nothing to be done. The request is the caller's: no other caller of this function gets it before it is
  // given back as `returned`.
  BatchRequest* next_of_any(BatchRequest* returned, double wait_seconds, GenerationEvent& event);

  void cancel(BatchRequest& request);           // it fails with `cancelled` at the next pass
  void forget(BatchRequest& request) noexcept;  // cancels it and keeps nothing; nobody asks for it any more

  std::optional<Error> failure(const BatchRequest& request) const;
  BatchRequestUsage usage(const BatchRequest& request) const;
  BatchSchedulerUsage usage() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;
  using Requests = std::list<std::shared_ptr<BatchRequest>>;
  struct Waiter;
  class Visit;

  bool drive(Lock& lock);
  bool step(Lock& lock);
  void run_pass(Lock& lock);
  bool end_some(Requests& requests);
  std::optional<Error> reason_to_end(const BatchRequest& request) const;
  bool admit_some();
  void publish() noexcept;
  Requests::iterator end(Requests& requests, Requests::iterator at, std::optional<Error> failure) noexcept;

  static bool has_event(const BatchRequest& request);
  GenerationEvent take(BatchRequest& request);
  void offer(BatchRequest& request) noexcept;
  void withdraw(BatchRequest& request) noexcept;
  void wait(Lock& lock, const BatchRequest* request, std::optional<Clock::time_point> until);
  void wake_those_with_events() noexcept;

  const std::shared_ptr<const Model> model_;
  const BatchSchedulerOptions options_;

  // The driver's: used without the mutex, by whoever has set is_driven_.
  BatchEngine engine_;
  std::vector<BatchSequence*> batch_;

  // mutex_ guards all that follows, and the unread events of requests.
  mutable std::mutex mutex_;
  bool is_driven_ = false;
  Requests waiting_, running_;        // the driver alone changes running_
  std::list<BatchRequest*> offered_;  // have events and are not in anybody's hands, first come first
  std::list<Waiter*> waiters_;
  bool cancel_asked_ = false;  // of some request since the queue was looked through
  int64_t n_watched_ = 0;      // requests in it that a deadline or a switch may end
  BatchSchedulerUsage usage_;
};

}  // namespace nanochat
