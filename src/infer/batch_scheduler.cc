#include "infer/batch_scheduler.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "model/weight_layout.h"

namespace nanochat {

namespace {

constexpr double kForEver = 1e9;  // seconds; clocks overflow far above

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::chrono::steady_clock::duration duration(double seconds) {
  using Duration = std::chrono::steady_clock::duration;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

const std::shared_ptr<const Model>& require_model(const std::shared_ptr<const Model>& model) {
  if (model) return model;
  throw Error(Status::invalid_argument).subject("model").say("a scheduler needs a model, got none");
}

// Room for all that may run, within half of what there is.
uint64_t default_kv_budget(const Model& model, const BatchSchedulerOptions& options) {
  const ModelConfig& config = model.config();
  const auto n_pages = static_cast<uint64_t>((config.sequence_len + kPagePositions - 1) / kPagePositions) *
                       static_cast<uint64_t>(options.max_running);
  const MemoryStats memory = model.device().memory().stats();
  const uint64_t page =
      Memory::allocation_bytes(PoolKind::working, page_bytes(config, options.engine.kv_dtype));
  uint64_t bytes = n_pages * page;
  // What a caller's allocator has is not known: 0.
  if (memory.device_available_bytes > 0) bytes = std::min(bytes, memory.device_available_bytes / 2);
  if (memory.budget_bytes > 0) bytes = std::min(bytes, (memory.budget_bytes - memory.used_bytes) / 2);
  return bytes;
}

BatchSchedulerOptions with_defaults(const Model& model, BatchSchedulerOptions options) {
  BatchEngineOptions& engine = options.engine;
  if (engine.kv_budget_bytes == 0) engine.kv_budget_bytes = default_kv_budget(model, options);
  engine.prefix_cache_bytes = options.prefix_cache_bytes.value_or(engine.kv_budget_bytes);
  return options;
}

void require_capacity(const Model& model, int64_t capacity) {
  const int64_t most = model.weights().n_rope_positions;
  if (capacity >= 1 && capacity <= most) return;
  throw Error(Status::out_of_range)
      .subject("capacity")
      .say("capacity of a request is {} positions, this model has 1 to {}", capacity, most);
}

}  // namespace

// Somebody who sleeps until a request (nullptr: any) has an event, or the driver's seat is free.
struct BatchScheduler::Waiter {
  std::condition_variable changed;
  const BatchRequest* request;
};

// A call that may sleep or drive. Who leaves wakes another, so that nobody sleeps beside a free seat.
class BatchScheduler::Visit {
 public:
  explicit Visit(BatchScheduler& scheduler) : scheduler_(scheduler) {}
  ~Visit() {
    if (!scheduler_.is_driven_ && !scheduler_.waiters_.empty()) {
      scheduler_.waiters_.front()->changed.notify_one();
    }
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  BatchScheduler& scheduler_;
};

BatchScheduler::BatchScheduler(std::shared_ptr<const Model> model, BatchSchedulerOptions options)
    : model_(require_model(model)),
      options_(with_defaults(*model_, std::move(options))),
      engine_(model_, options_.engine) {
  batch_.reserve(static_cast<size_t>(options_.max_running));
  usage_.kv_budget_bytes = options_.engine.kv_budget_bytes;
}

BatchScheduler::~BatchScheduler() = default;

// --- requests ----------------------------------------------------------------------------------------------

std::shared_ptr<BatchRequest> BatchScheduler::make_request(std::shared_ptr<const Tokenizer> tokenizer,
                                                           std::vector<int32_t> prompt,
                                                           GenerationOptions options,
                                                           const BatchRequestOptions& wanted) const {
  const ModelConfig& config = model_->config();
  const int64_t capacity = wanted.capacity == 0 ? config.sequence_len : wanted.capacity;
  require_capacity(*model_, capacity);
  TokenLoop loop(config, capacity, {}, std::move(tokenizer), std::move(prompt), std::move(options),
                 &model_->device());
  engine_.require_room(loop);
  auto request = std::make_shared<BatchRequest>(std::move(loop), wanted);
  request->usage_.generation.prompt_tokens = request->sequence_.loop().n_prompt();
  return request;
}

void BatchScheduler::submit(const std::shared_ptr<BatchRequest>& request) {
  Requests one{request};
  const BatchRequestOptions& wanted = request->options_;
  const bool has_deadline = wanted.deadline_seconds > 0 && wanted.deadline_seconds < kForEver;
  const Lock lock(mutex_);
  const Visit visit(*this);
  const int64_t n_free = options_.max_running - std::ssize(running_);
  if (std::ssize(waiting_) >= options_.max_waiting + n_free) {
    throw Error(Status::queue_full)
        .subject("max_waiting")
        .field("waiting", static_cast<int64_t>(waiting_.size()))
        .field("running", static_cast<int64_t>(running_.size()))
        .say("{} requests run and {} wait, the limits are {} and {}", running_.size(), waiting_.size(),
             options_.max_running, options_.max_waiting)
        .hint("take events, then submit again");
  }
  request->submitted_ = Clock::now();
  request->deadline_ =
      has_deadline ? request->submitted_ + duration(wanted.deadline_seconds) : Clock::time_point::max();
  request->id_ = ++usage_.n_submitted;
  if (request->is_watched()) ++n_watched_;
  waiting_.splice(waiting_.end(), one);
}

void BatchScheduler::cancel(BatchRequest& request) {
  const Lock lock(mutex_);
  const Visit visit(*this);
  request.cancel_asked_ = true;
  cancel_asked_ = true;
}

void BatchScheduler::forget(BatchRequest& request) noexcept {
  const Lock lock(mutex_);
  const Visit visit(*this);
  request.is_forgotten_ = true;
  withdraw(request);
  const auto is_it = [&](const auto& other) { return other.get() == &request; };
  for (Requests* requests : {&waiting_, &running_}) {
    const auto at = std::find_if(requests->begin(), requests->end(), is_it);
    if (at == requests->end()) continue;
    if (requests == &running_ && is_driven_) break;  // the driver will see to it
    end(*requests, at, std::nullopt);
    break;
  }
}

std::optional<Error> BatchScheduler::failure(const BatchRequest& request) const {
  const Lock lock(mutex_);
  return request.failure_;
}

BatchRequestUsage BatchScheduler::usage(const BatchRequest& request) const {
  const Lock lock(mutex_);
  return request.usage_;
}

BatchSchedulerUsage BatchScheduler::usage() const {
  const Lock lock(mutex_);
  BatchSchedulerUsage usage = usage_;
  usage.n_waiting = std::ssize(waiting_);
  usage.n_running = std::ssize(running_);
  return usage;
}

// --- events ------------------------------------------------------------------------------------------------

bool BatchScheduler::has_event(const BatchRequest& request) {
  return !request.unread_.empty() || (request.failure_ && !request.end_is_taken_);
}

void BatchScheduler::offer(BatchRequest& request) noexcept {
  if (request.is_offered_ || request.is_in_hand_ || request.is_forgotten_ || !has_event(request)) return;
  offered_.splice(offered_.end(), request.seat_);
  request.is_offered_ = true;
}

void BatchScheduler::withdraw(BatchRequest& request) noexcept {
  if (!request.is_offered_) return;
  request.seat_.splice(request.seat_.end(), offered_, request.place_);
  request.is_offered_ = false;
}

// Also of a request that is at its end: then its last event, again.
GenerationEvent BatchScheduler::take(BatchRequest& request) {
  GenerationEvent event;
  if (!request.unread_.empty()) {
    event = std::move(request.unread_.front());
    request.unread_.pop_front();
    if (event.finish != Finish::none) request.end_is_taken_ = true;
  } else if (request.failure_) {
    event.index = request.usage_.generation.generated_tokens;
    event.finish = Finish::error;
    request.end_is_taken_ = true;
  } else {
    event = request.sequence_.loop().last();
  }
  if (!has_event(request)) withdraw(request);
  return event;
}

GenerationEvent BatchScheduler::next(BatchRequest& request) {
  Lock lock(mutex_);
  const Visit visit(*this);
  while (!has_event(request) && !request.end_is_taken_) {
    if (is_driven_) {
      wait(lock, &request, std::nullopt);
    } else if (!drive(lock) && !has_event(request)) {
      throw Error(Status::invalid_state)
          .subject("request")
          .say(
              "request {} waits in the queue, and the {} requests that run are paused: {} events of each "
              "wait to "
              "be taken",
              request.id_, running_.size(), options_.max_unread)
          .hint("take their events, or free them");
    }
  }
  return take(request);
}

BatchRequest* BatchScheduler::next_of_any(BatchRequest* returned, double wait_seconds,
                                          GenerationEvent& event) {
  Lock lock(mutex_);
  const Visit visit(*this);
  if (returned != nullptr) {
    returned->is_in_hand_ = false;
    offer(*returned);
  }
  std::optional<Clock::time_point> until;
  if (wait_seconds < kForEver) until = Clock::now() + duration(std::max(wait_seconds, 0.0));
  while (offered_.empty()) {
    if (is_driven_) {
      wait(lock, nullptr, std::nullopt);
    } else if (!drive(lock) && offered_.empty()) {
      if (until && Clock::now() >= *until) return nullptr;
      wait(lock, nullptr, until);
    }
  }
  BatchRequest& request = *offered_.front();
  withdraw(request);
  event = take(request);
  request.is_in_hand_ = true;
  return &request;
}

void BatchScheduler::wait(Lock& lock, const BatchRequest* request, std::optional<Clock::time_point> until) {
  Waiter waiter{{}, request};
  std::list<Waiter*> seat{&waiter};
  const auto place = seat.begin();
  waiters_.splice(waiters_.end(), seat);
  if (until) {
    waiter.changed.wait_until(lock, *until);
  } else {
    waiter.changed.wait(lock);
  }
  waiters_.erase(place);
}

void BatchScheduler::wake_those_with_events() noexcept {
  for (Waiter* waiter : waiters_) {
    const bool has = waiter->request == nullptr ? !offered_.empty() : has_event(*waiter->request);
    if (has) waiter->changed.notify_one();
  }
}

// --- the driver --------------------------------------------------------------------------------------------

// false: there is nothing that could be done.
bool BatchScheduler::drive(Lock& lock) {
  struct Seat {
    bool& is_driven;
    explicit Seat(bool& flag) : is_driven(flag) { is_driven = true; }
    ~Seat() { is_driven = false; }
  };
  const Seat seat(is_driven_);
  return step(lock);
}

bool BatchScheduler::step(Lock& lock) {
  bool moved = end_some(running_);
  if (cancel_asked_ || n_watched_ > 0) moved = end_some(waiting_) || moved;
  cancel_asked_ = false;
  moved = admit_some() || moved;
  batch_.clear();
  for (const auto& request : running_) {
    if (std::ssize(request->unread_) < options_.max_unread) batch_.push_back(&request->sequence_);
  }
  if (batch_.empty()) {
    publish();
    return moved;
  }
  run_pass(lock);
  return true;
}

void BatchScheduler::run_pass(Lock& lock) {
  std::exception_ptr problem;
  lock.unlock();
  try {
    engine_.run(batch_);
  } catch (...) {
    problem = std::current_exception();
  }
  lock.lock();
  publish();
  if (problem) std::rethrow_exception(problem);
}

std::optional<Error> BatchScheduler::reason_to_end(const BatchRequest& request) const {
  const bool cancelled =
      request.cancel_asked_ || (request.options_.cancel != nullptr && request.options_.cancel->requested());
  const int64_t n_tokens = request.usage_.generation.generated_tokens;
  if (cancelled) {
    Error error(Status::cancelled);
    error.subject("request").say("request {} was cancelled after {} tokens", request.id_, n_tokens);
    return error;
  }
  if (request.deadline_ == Clock::time_point::max() || Clock::now() < request.deadline_) return std::nullopt;
  Error error(Status::deadline_exceeded);
  error.subject("request")
      .say("request {} has {} tokens after its deadline of {} seconds", request.id_, n_tokens,
           request.options_.deadline_seconds)
      .hint("give it more time, or run fewer at once");
  return error;
}

bool BatchScheduler::end_some(Requests& requests) {
  bool moved = false;
  for (auto at = requests.begin(); at != requests.end();) {
    std::optional<Error> reason = reason_to_end(**at);
    if (!reason && !(*at)->is_forgotten_) {
      ++at;
      continue;
    }
    at = end(requests, at, std::move(reason));
    moved = true;
  }
  return moved;
}

// First come, first served: nobody passes one that waits for more room.
bool BatchScheduler::admit_some() {
  bool moved = false;
  while (!waiting_.empty() && std::ssize(running_) < options_.max_running) {
    BatchRequest& request = *waiting_.front();
    try {
      if (!engine_.admit(request.sequence_)) break;
    } catch (const Error& error) {
      end(waiting_, waiting_.begin(), error);
      moved = true;
      continue;
    }
    request.admitted_ = Clock::now();
    request.usage_.queue_seconds = seconds(request.admitted_ - request.submitted_);
    running_.splice(running_.end(), waiting_, waiting_.begin());
    moved = true;
  }
  return moved;
}

// Hands out what the last pass brought.
void BatchScheduler::publish() noexcept {
  const Clock::time_point now = Clock::now();
  for (auto at = running_.begin(); at != running_.end();) {
    BatchRequest& request = **at;
    BatchSequence& sequence = request.sequence_;
    BatchRequestUsage& usage = request.usage_;
    if (!sequence.events().empty()) {
      if (usage.generation.generated_tokens == 0) request.first_event_ = now;
      usage.generation.prompt_seconds = seconds(request.first_event_ - request.admitted_);
      usage.generation.decode_seconds = seconds(now - request.first_event_);
      usage.generation.generated_tokens = sequence.loop().n_generated();
      usage.generation.finish = sequence.loop().last().finish;
      usage.n_guessed = sequence.counts().n_guessed;
      usage.n_guessed_right = sequence.counts().n_guessed_right;
      request.unread_.splice(request.unread_.end(), sequence.events());
    }
    usage.n_prompt_reused = sequence.counts().n_prompt_reused;
    if (sequence.is_over() || request.is_forgotten_) {
      at = end(running_, at, sequence.failure());
    } else {
      offer(request);
      ++at;
    }
  }
  usage_.counts = engine_.counts();
  usage_.kv_promised_bytes = static_cast<uint64_t>(engine_.n_promised_pages()) * engine_.page_bytes();
  usage_.prefix_cache_bytes = static_cast<uint64_t>(engine_.prefix_cache().n_unused()) * engine_.page_bytes();
  usage_.n_prefix_evictions = engine_.prefix_cache().n_evicted();
  wake_those_with_events();
}

BatchScheduler::Requests::iterator BatchScheduler::end(Requests& requests, Requests::iterator at,
                                                       std::optional<Error> failure) noexcept {
  BatchRequest& request = **at;
  if (&requests == &running_) engine_.release(request.sequence_);
  request.failure_ = std::move(failure);
  if (request.is_watched()) --n_watched_;
  ++usage_.n_ended;
  if (request.failure_) {
    request.usage_.status = request.failure_->status();
    request.usage_.generation.finish = Finish::error;
    ++usage_.n_failed;
  }
  offer(request);
  return requests.erase(at);
}

}  // namespace nanochat
