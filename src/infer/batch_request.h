// A request as the scheduler keeps it.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>

#include "base/cancel.h"
#include "infer/batch_engine.h"

namespace nanochat {

struct BatchRequestOptions {
  double deadline_seconds = 0;  // from the submit on; 0: none
  int64_t capacity = 0;         // positions; 0: the model's sequence_len
  const CancelToken* cancel = nullptr;
  void* owner = nullptr;  // the caller's own
};

struct BatchRequestUsage {
  GenerationUsage generation;  // prompt_seconds begin after queue_seconds
  double queue_seconds = 0;
  int64_t n_prompt_reused = 0, n_guessed = 0, n_guessed_right = 0;
  Status status = Status::ok;  // how it ended
};

class BatchRequest {
 public:
  BatchRequest(TokenLoop loop, const BatchRequestOptions& options)
      : sequence_(std::move(loop)), options_(options) {}
  void* owner() const { return options_.owner; }
  const BatchSequence& sequence() const { return sequence_; }  // to tell it from others

 private:
  friend class BatchScheduler;
  using Clock = std::chrono::steady_clock;
  bool is_watched() const { return options_.deadline_seconds > 0 || options_.cancel != nullptr; }

  BatchSequence sequence_;  // the driver's, once the request has left the queue
  const BatchRequestOptions options_;

  // Guarded by the scheduler's mutex.
  int64_t id_ = 0;
  bool is_forgotten_ = false;
  bool cancel_asked_ = false;
  bool is_in_hand_ = false;  // given out by next_of_any()
  bool is_offered_ = false;
  bool end_is_taken_ = false;
  std::list<GenerationEvent> unread_;
  std::list<BatchRequest*> seat_{this};  // its seat, unless that stands in the list of those who have events
  std::list<BatchRequest*>::iterator place_ = seat_.begin();
  std::optional<Error> failure_;
  BatchRequestUsage usage_;
  Clock::time_point submitted_, deadline_, admitted_, first_event_;
};

}  // namespace nanochat
