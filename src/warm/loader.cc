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
#include "warm/load_job.h"

namespace nanochat {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kReport{50};    // between two reports of the bytes of one component
constexpr milliseconds kDrain{30000};  // for whoever asks a component during a failed start

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
        is_taken_(registry.size(), false),
        is_warm_(registry.size(), false) {
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
    return std::ranges::all_of(registry_.spec(index).depends_on,
                               [&](const std::string& id) { return is_warm_[registry_.find(id)]; });
  }

  void load(size_t index) {
    LoadJob& job = jobs_[index];
    registry_.start_loading(index);
    tell(index, WarmState::loading);
    const LoadStages stages{
        [&](uint64_t bytes) {
          registry_.update_progress(index, bytes);
          return true;
        },
        [&] {
          registry_.mark_validating(index);
          tell(index, WarmState::validating);
        },
        [&](const TestResult& result) { registry_.record_test(index, result.latency_us, ""); }};
    const ComponentSpec& spec = registry_.spec(index);
    auto component = run_load_job(job, turns_, {device_, spec, config_, registry_.plan(index)}, stages);
    device_->log().write(LogLevel::info, "component {}: {} bytes in memory, loaded in {} s", spec.id,
                         component->bytes(), component->load_seconds());
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
    if (state == WarmState::warm) is_warm_[index] = true;
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
    if (n_running_ > 0 && events_.empty()) changed_.wait_for(lock, kLoadLook);
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
    for (LoadJob& job : jobs_) job.stop_if_late(config_);
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
  std::mutex turns_;  // held by who uses the device

  std::mutex mutex_;  // guards what follows, down to the empty line
  std::condition_variable changed_;
  std::vector<std::exception_ptr> failures_;  // of component i
  std::exception_ptr own_failure_;            // of the thread that watches
  std::vector<bool> is_taken_, is_warm_;
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

}  // namespace nanochat
