#include "warm/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "base/signals_blocked.h"
#include "warm/validation.h"

namespace nanochat {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{10};      // between two looks at the switch and the clocks
constexpr milliseconds kReport{50};    // between two reports of the bytes of one component
constexpr milliseconds kDrain{30000};  // for whoever asks a component during a failed start

// What the thread of a load and the thread that watches it share.
struct LoadJob {
  CancelToken cancel;
  std::atomic<uint64_t> bytes{0};
  std::atomic<int64_t> began_ns{-1};  // on the steady clock; -1: not begun
  std::atomic<bool> is_late{false};
};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

bool is_over_time(const LoadJob& job, const WarmConfig& config) {
  const int64_t began = job.began_ns.load();
  return began >= 0 && static_cast<uint64_t>((now_ns() - began) / 1'000'000) >= config.max_load_ms;
}

void stop_if_late(LoadJob& job, const WarmConfig& config) {
  if (job.is_late.load() || !is_over_time(job, config)) return;
  job.is_late.store(true);
  job.cancel.request();
}

[[noreturn]] void refuse_late(const ComponentSpec& spec, const WarmConfig& config) {
  throw Error(Status::load_timeout)
      .subject(spec.id)
      .field("model_id", spec.id)
      .field("timeout_ms", config.max_load_ms)
      .hint("raise max_load_time_per_model_ms, or use faster storage")
      .say("Load timeout for {}: not loaded and validated within {} ms", spec.id, config.max_load_ms);
}

Error thread_failure(const std::system_error& failure) {
  return Error(Status::thread_failed)
      .os_code(failure.code().value())
      .say("cannot start a thread to load components: {}", failure.code().message());
}

// What somebody else is told about a failure of any kind.
Error as_error(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(Status::out_of_memory).say("memory is short");
  } catch (const std::exception& other) {
    return Error(Status::internal).say("{}", other.what());
  } catch (...) {
    return Error(Status::internal).say("an exception of unknown type");
  }
}

// `at_stage` is called when it is loaded, with what the test said when it is validated.
struct Stages {
  std::function<bool(uint64_t bytes)> on_bytes;
  std::function<void()> on_loaded;
  std::function<void(const TestResult&)> on_tested;
};

// On a thread of its own.
std::unique_ptr<const Component> run_job(LoadJob& job, const std::shared_ptr<Device>& device,
                                         const ComponentSpec& spec, const WarmConfig& config,
                                         const Stages& stages) {
  job.began_ns.store(now_ns());
  try {
    const Watch loading{&job.cancel,
                        [&](const Progress& progress) { return stages.on_bytes(progress.done); }};
    auto component = Component::load(device, spec, config, job.bytes, loading);
    stages.on_loaded();
    if (config.test_inference) stages.on_tested(validate_component(*component, {&job.cancel, {}}));
    if (job.is_late.load() || is_over_time(job, config)) refuse_late(spec, config);
    return component;
  } catch (const Error& error) {
    if (error.status() == Status::cancelled && job.is_late.load()) refuse_late(spec, config);
    throw;
  }
}

// All components of a fleet. The thread that made it watches; the others load.
class FleetLoad {
 public:
  FleetLoad(Registry& registry, const std::shared_ptr<Device>& device, const WarmConfig& config,
            const LoadWatch& watch)
      : registry_(registry),
        device_(device),
        config_(config),
        watch_(watch),
        order_(registry.loading_order()),
        jobs_(registry.size()),
        failures_(registry.size()),
        is_taken_(registry.size(), false) {
    for (size_t i = 0; i < registry.size(); ++i) total_bytes_ += registry.plan(i).file_bytes;
    events_.reserve(4 * registry.size());
    told_.reserve(4 * registry.size());
    reported_bytes_.resize(registry.size());
  }
  ~FleetLoad() { finish(); }
  FleetLoad(const FleetLoad&) = delete;
  FleetLoad& operator=(const FleetLoad&) = delete;

  // Returns when no thread runs any more. nullptr: all components are warm.
  std::exception_ptr run() {
    try {
      start_threads();
      while (!is_finished()) look();
    } catch (...) {
      stop(std::current_exception());
    }
    finish();
    try {
      report_events();  // the last ones
    } catch (...) {
      stop(std::current_exception());
    }
    return first_failure();
  }

 private:
  struct Event {
    size_t component;
    WarmState state;
  };

  // --- on the threads that load ----------------------------------------------------------------------------

  void work() noexcept {
    size_t index = 0;
    while (take(index)) {
      std::exception_ptr failure;
      try {
        load(index);
      } catch (...) {
        failure = std::current_exception();
      }
      settle(index, failure);
    }
    const std::lock_guard lock(mutex_);
    --n_running_;
    changed_.notify_all();
  }

  // The first in order that nothing holds up.
  bool take(size_t& index) {
    std::unique_lock lock(mutex_);
    while (true) {
      if (is_stopping_ || n_taken_ == order_.size()) return false;
      const auto next = std::ranges::find_if(order_, [&](size_t i) { return !is_taken_[i] && may_begin(i); });
      if (next != order_.end()) {
        index = *next;
        is_taken_[index] = true;
        ++n_taken_;
        return true;
      }
      changed_.wait(lock);
    }
  }

  bool may_begin(size_t index) const {
    return std::ranges::all_of(registry_.spec(index).depends_on, [&](const std::string& id) {
      return registry_.state(registry_.find(id)) == WarmState::warm;
    });
  }

  void load(size_t index) {
    LoadJob& job = jobs_[index];
    registry_.start_loading(index);
    tell(index, WarmState::loading);
    const Stages stages{
        [&](uint64_t bytes) {
          registry_.update_progress(index, bytes);
          return true;
        },
        [&] {
          registry_.mark_validating(index);
          tell(index, WarmState::validating);
        },
        [&](const TestResult& result) { registry_.record_test(index, result.latency_us, ""); }};
    auto component = run_job(job, device_, registry_.spec(index), config_, stages);
    device_->log().write(LogLevel::info, "component {}: {} bytes in memory, loaded in {} s",
                         registry_.spec(index).id, component->bytes(), component->load_seconds());
    registry_.mark_warm(index, std::move(component));
    tell(index, WarmState::warm);
  }

  void settle(size_t index, std::exception_ptr failure) noexcept {
    if (failure == nullptr) return changed_.notify_all();
    bool was_stopped = false;
    {
      const std::lock_guard lock(mutex_);
      was_stopped = is_stopping_ && is_cancelled(failure);
      if (!was_stopped) failures_[index] = failure;
      stop_all();
    }
    mark_failed(index, failure, was_stopped);
    changed_.notify_all();
  }

  static bool is_cancelled(const std::exception_ptr& failure) noexcept {
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      return error.status() == Status::cancelled;
    } catch (...) {
      return false;
    }
  }

  void mark_failed(size_t index, const std::exception_ptr& failure, bool was_stopped) noexcept {
    try {
      const Error stopped = Error(Status::cancelled)
                                .subject(registry_.spec(index).id)
                                .say("loading {} was stopped", registry_.spec(index).id);
      registry_.mark_failed(index, was_stopped ? stopped : as_error(failure));
      tell(index, WarmState::failed);
    } catch (...) {  // memory is too short to say so; the failure itself is kept
    }
  }

  // Room for all events was made beforehand.
  void tell(size_t index, WarmState state) {
    const std::lock_guard lock(mutex_);
    events_.push_back({index, state});
    changed_.notify_all();
  }

  // --- on the thread that watches --------------------------------------------------------------------------

  void start_threads() {
    const SignalsBlocked signals_blocked;
    const size_t n = std::min(static_cast<size_t>(config_.n_loading), order_.size());
    threads_.reserve(n);
    for (size_t i = 0; i < n; ++i) {
      {
        const std::lock_guard lock(mutex_);
        ++n_running_;
      }
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error& failure) {
        const std::lock_guard lock(mutex_);
        --n_running_;
        throw thread_failure(failure);
      }
    }
  }

  bool is_finished() {
    std::unique_lock lock(mutex_);
    if (n_running_ > 0 && events_.empty()) changed_.wait_for(lock, kLook);
    return n_running_ == 0;
  }

  void look() {
    if (watch_.cancel != nullptr && watch_.cancel->requested()) {
      const std::lock_guard lock(mutex_);
      if (!is_stopping_) {
        own_failure_ = std::make_exception_ptr(Error(Status::cancelled).say("cancelled by the caller"));
        stop_all();
      }
    }
    for (LoadJob& job : jobs_) stop_if_late(job, config_);
    report_events();
    const auto now = steady_clock::now();
    if (now < next_report_) return;
    next_report_ = now + kReport;
    report_bytes();
  }

  void report_events() {
    {
      const std::lock_guard lock(mutex_);
      told_.swap(events_);
    }
    for (const Event& event : told_) report(event.component, event.state);
    told_.clear();
  }

  void report_bytes() {
    for (const size_t index : order_) {
      const uint64_t bytes = jobs_[index].bytes.load();
      if (registry_.state(index) != WarmState::loading || bytes == reported_bytes_[index]) continue;
      report(index, WarmState::loading);
    }
  }

  void report(size_t index, WarmState state) {
    reported_bytes_[index] = jobs_[index].bytes.load();
    if (!watch_.on_progress) return;
    LoadProgress progress{registry_.spec(index).id,         state, reported_bytes_[index],
                          registry_.plan(index).file_bytes, 0,     total_bytes_};
    for (const LoadJob& job : jobs_) progress.fleet_loaded += job.bytes.load();
    if (watch_.on_progress(progress)) return;
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return;  // what stopped it comes first
    own_failure_ = std::make_exception_ptr(
        Error(Status::cancelled)
            .say("stopped by the progress callback at {} of {} bytes", progress.fleet_loaded, total_bytes_));
    stop_all();
  }

  void stop(std::exception_ptr failure) noexcept {
    const std::lock_guard lock(mutex_);
    if (own_failure_ == nullptr) own_failure_ = std::move(failure);
    stop_all();
  }

  // With the mutex held.
  void stop_all() noexcept {
    is_stopping_ = true;
    for (LoadJob& job : jobs_) job.cancel.request();
    changed_.notify_all();
  }

  void finish() noexcept {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  std::exception_ptr first_failure() const {
    for (const size_t index : order_) {
      if (failures_[index] != nullptr) return failures_[index];
    }
    return own_failure_;
  }

  Registry& registry_;
  const std::shared_ptr<Device>& device_;
  const WarmConfig& config_;
  const LoadWatch& watch_;
  const std::vector<size_t> order_;
  std::vector<LoadJob> jobs_;  // of component i
  uint64_t total_bytes_ = 0;
  std::vector<std::thread> threads_;

  std::mutex mutex_;  // guards what follows, down to the empty line
  std::condition_variable changed_;
  std::vector<std::exception_ptr> failures_;  // of component i
  std::exception_ptr own_failure_;            // of the thread that watches
  std::vector<bool> is_taken_;
  size_t n_taken_ = 0, n_running_ = 0;
  bool is_stopping_ = false;
  std::vector<Event> events_;

  // Of the thread that watches.
  std::vector<Event> told_;
  std::vector<uint64_t> reported_bytes_;
  steady_clock::time_point next_report_ = steady_clock::now() + kReport;
};

// Nothing is left: neither components nor what their test inferences took.
void release(Registry& registry, Device& device) {
  std::vector<size_t> order = registry.loading_order();
  std::ranges::reverse(order);
  for (const size_t index : order) registry.withdraw(index);
  for (const size_t index : order) {
    if (const int64_t n_users = registry.drain(index, kDrain); n_users > 0) {
      device.log().write(LogLevel::error, "component {}: {} users keep it after a failed start",
                         registry.spec(index).id, n_users);
    }
  }
  device.memory().reclaim();
}

void tell_failure(const LoadWatch& watch, Device& device, const std::exception_ptr& failure) noexcept {
  try {
    const Error error = as_error(failure);
    device.log().write(LogLevel::error, "the fleet did not start: status {}: {}",
                       static_cast<int32_t>(error.status()), error.message());
    if (watch.before_release) watch.before_release(error);
  } catch (...) {  // why the start failed matters more than why that could not be told
  }
}

}  // namespace

void load_fleet(Registry& registry, const std::shared_ptr<Device>& device, const WarmConfig& config,
                const LoadWatch& watch) {
  std::exception_ptr failure;
  {
    FleetLoad load(registry, device, config, watch);
    failure = load.run();
  }
  if (failure == nullptr) return;
  tell_failure(watch, *device, failure);
  release(registry, *device);
  std::rethrow_exception(failure);
}

std::unique_ptr<const Component> load_component(const std::shared_ptr<Device>& device,
                                                const ComponentSpec& spec, const WarmConfig& config,
                                                const Watch& watch) {
  watch.check();
  const uint64_t n_bytes = Component::plan(spec, config).file_bytes;
  LoadJob job;
  std::mutex mutex;
  std::condition_variable ended;
  bool has_ended = false;  // guarded by mutex
  std::unique_ptr<const Component> component;
  std::exception_ptr failure, own_failure;
  const Stages stages{[](uint64_t) { return true; }, [] {}, [](const TestResult&) {}};
  std::thread thread;
  try {
    const SignalsBlocked signals_blocked;
    thread = std::thread([&] {
      try {
        component = run_job(job, device, spec, config, stages);
      } catch (...) {
        failure = std::current_exception();
      }
      const std::lock_guard lock(mutex);
      has_ended = true;
      ended.notify_all();
    });
  } catch (const std::system_error& cause) {
    throw thread_failure(cause);
  }
  const auto has_just_ended = [&] {
    std::unique_lock lock(mutex);
    ended.wait_for(lock, kLook, [&] { return has_ended; });
    return has_ended;
  };
  while (!has_just_ended()) {
    stop_if_late(job, config);
    try {
      if (own_failure == nullptr) watch.report("load", job.bytes.load(), n_bytes);
    } catch (...) {
      own_failure = std::current_exception();
      job.cancel.request();
    }
  }
  thread.join();
  if (own_failure != nullptr) std::rethrow_exception(own_failure);
  if (failure != nullptr) std::rethrow_exception(failure);
  return component;
}

}  // namespace nanochat
