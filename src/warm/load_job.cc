#include "warm/load_job.h"

#include <condition_variable>
#include <new>
#include <thread>

#include "base/signals_blocked.h"
#include "warm/component_load.h"
#include "warm/loader.h"

namespace nanochat {

namespace {

using std::chrono::steady_clock;

// The clock of a job stands still while it waits.
class Turn {
 public:
  Turn(std::mutex& turns, LoadJob& job) : lock_(turns, std::defer_lock) {
    job.stop_clock();
    lock_.lock();
    job.start_clock();
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

[[noreturn]] void refuse_late(const ComponentSpec& spec, const WarmConfig& config) {
  throw Error(Status::load_timeout)
      .subject(spec.id)
      .field("model_id", spec.id)
      .field("timeout_ms", config.max_load_ms)
      .hint("raise max_load_time_per_model_ms, or use faster storage")
      .say("Load timeout for {}: not loaded and validated within {} ms", spec.id, config.max_load_ms);
}

void refuse_changed(const ComponentSpec& spec, uint64_t planned, uint64_t actual) {
  if (planned == actual) return;
  const std::string reason = format_text(
      "its weights take {} bytes, {} were planned: its files have changed meanwhile", actual, planned);
  throw Error(Status::model_load_failed)
      .subject(spec.id)
      .field("model_id", spec.id)
      .field("reason", reason)
      .hint("open the fleet again")
      .say("Model load failed for {}: {}", spec.id, reason);
}

}  // namespace

int64_t LoadJob::now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

bool LoadJob::is_over_time(const WarmConfig& config) const {
  int64_t ns = spent_ns_.load();  // before the other: what is added meanwhile must not count twice
  if (const int64_t since = since_ns_.load(); since >= 0) ns += now_ns() - since;
  return static_cast<uint64_t>(ns / 1'000'000) >= config.max_load_ms;
}

void LoadJob::stop_if_late(const WarmConfig& config) {
  if (since_ns_.load() < 0 || is_late_.load() || !is_over_time(config)) return;
  is_late_.store(true);
  cancel.request();
}

std::unique_ptr<const Component> run_load_job(LoadJob& job, std::mutex& turns, const LoadOrder& order,
                                              const LoadStages& stages) {
  job.start_clock();
  try {
    ComponentLoader loader(order.device, order.spec, order.config);
    loader.prepare();
    refuse_changed(order.spec, order.plan.model_bytes, loader.plan().model_bytes);
    const Turn turn(turns, job);
    const auto on_progress = [&](const Progress& progress) { return stages.on_bytes(progress.done); };
    auto component = loader.load(job.bytes, {&job.cancel, on_progress});
    stages.on_loaded();
    if (order.config.test_inference) stages.on_tested(validate_component(*component, {&job.cancel, {}}));
    if (job.is_late() || job.is_over_time(order.config)) refuse_late(order.spec, order.config);
    return component;
  } catch (const Error& error) {
    if (error.status() == Status::cancelled && job.is_late()) refuse_late(order.spec, order.config);
    throw;
  }
}

Error thread_failure(const std::system_error& failure) {
  return Error(Status::thread_failed)
      .os_code(failure.code().value())
      .say("cannot start a thread to load components: {}", failure.code().message());
}

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

// A thread of its own, so that the calling one can watch.
std::unique_ptr<const Component> load_component(const std::shared_ptr<Device>& device,
                                                const ComponentSpec& spec, const WarmConfig& config,
                                                const Watch& watch) {
  watch.check();
  const ComponentPlan plan = Component::plan(spec, config);
  LoadJob job;
  std::mutex turn, mutex;
  std::condition_variable ended;
  bool has_ended = false;  // guarded by mutex
  std::unique_ptr<const Component> component;
  std::exception_ptr failure, own_failure;
  const LoadStages stages{[](uint64_t) { return true; }, [] {}, [](const TestResult&) {}};
  std::thread thread;
  try {
    const SignalsBlocked signals_blocked;
    thread = std::thread([&] {
      try {
        component = run_load_job(job, turn, {device, spec, config, plan}, stages);
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
    ended.wait_for(lock, kLoadLook, [&] { return has_ended; });
    return has_ended;
  };
  while (!has_just_ended()) {
    job.stop_if_late(config);
    try {
      if (own_failure == nullptr) watch.report("load", job.bytes.load(), plan.file_bytes);
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
