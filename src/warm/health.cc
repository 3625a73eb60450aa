#include "warm/health.h"

#include <algorithm>
#include <chrono>
#include <exception>

#include "base/timestamp.h"
#include "warm/validation.h"

namespace nanochat {

namespace {

// An address as anybody may write it down; nobody reads memory through it.
uint64_t address_number(const void* address) { return reinterpret_cast<uintptr_t>(address); }

ComponentHealth look_at(const Registry& registry, size_t index, const Device& device) {
  const ComponentSpec& spec = registry.spec(index);
  const ComponentPlan& plan = registry.plan(index);
  ComponentHealth health;
  health.id = spec.id;
  health.kind = spec.kind;
  health.dimension = plan.dimension;
  health.expected_bytes = plan.model_bytes;
  // Held first: whatever its state says then, it cannot go before this is written down.
  const auto component = registry.acquire(index);
  health.entry = registry.status(index);
  if (component == nullptr) {
    // It was withdrawn since.
    if (health.entry.state == WarmState::warm) health.entry.state = WarmState::pending;
    return health;
  }
  health.address = address_number(component->address());
  health.allocation_bytes = component->bytes();
  health.locked_bytes = component->locked_bytes();
  health.is_resident = component->bytes() > 0 && device.is_resident(component->address(), component->bytes());
  health.checksum = has_weights(spec.kind) ? component->checksum().hex() : "";
  // The message is written before anything else that a test says, so it alone decides.
  health.problem = health.entry.test_message;
  if (!health.problem.empty()) health.entry.test_passed = false;
  if (health.problem.empty() && component->bytes() > 0 && !health.is_resident) {
    health.problem = format_text("its {} bytes are not memory of the device any more", component->bytes());
  }
  return health;
}

bool is_serving(const ComponentHealth& component) {
  return component.entry.state == WarmState::warm && component.problem.empty();
}

Health overall(Fleet::Phase phase, const std::vector<ComponentHealth>& components) {
  const auto has_state = [](WarmState state) {
    return [state](const ComponentHealth& component) { return component.entry.state == state; };
  };
  if (components.empty()) return Health::not_initialized;
  if (phase == Fleet::Phase::failed || std::ranges::any_of(components, has_state(WarmState::failed))) {
    return Health::unhealthy;
  }
  if (phase == Fleet::Phase::loading) return Health::loading;
  if (!std::ranges::all_of(components, has_state(WarmState::warm))) return Health::not_initialized;
  return std::ranges::all_of(components, is_serving) ? Health::healthy : Health::degraded;
}

void estimate_rest(const Registry& registry, HealthReport& report) {
  double done = 0, total = 0, seconds = 0;
  size_t n_loading = 0, n_warm = 0;
  for (size_t i = 0; i < report.components.size(); ++i) {
    const EntryStatus& entry = report.components[i].entry;
    const auto file_bytes = static_cast<double>(registry.plan(i).file_bytes);
    total += file_bytes;
    done += entry.state == WarmState::warm ? file_bytes : static_cast<double>(entry.bytes_loaded);
    if (entry.load_ms > 0) seconds += static_cast<double>(entry.load_ms) / 1000;
    if (entry.state == WarmState::loading || entry.state == WarmState::validating) ++n_loading;
    if (entry.state == WarmState::warm) ++n_warm;
  }
  if (n_warm == report.components.size()) {
    report.loading_progress = n_warm > 0 ? 1 : 0;
    return;
  }
  report.loading_progress = total > 0 ? std::min(done / total, 1.0) : 0;
  // Each that is loading now goes on at the mean rate of all so far.
  if (report.health == Health::loading && done > 0 && seconds > 0) {
    const double rate = done / seconds * static_cast<double>(std::max<size_t>(n_loading, 1));
    report.estimated_seconds_remaining = std::max(total - done, 0.0) / rate;
  }
}

// What a device that has failed cannot say is left out.
template <class F>
void as_far_as_known(const F& ask) {
  try {
    ask();
  } catch (const Error&) {  // an empty string, or zero, says that it is not known
  }
}

// Its latency, and why it fails: "".
void test_one(const Fleet& fleet, size_t index, const Watch& watch) {
  // Not Fleet::component(): what is withdrawn meanwhile is no failure of a test.
  const auto component = fleet.registry().acquire(index);
  if (component == nullptr) return;
  const auto begin = std::chrono::steady_clock::now();
  int64_t latency_us = -1;
  std::string message;
  try {
    latency_us = validate_component(*component, watch).latency_us;
  } catch (const Error& error) {
    if (error.status() == Status::cancelled) throw;
    message = error.message();
    if (message.empty()) message = "the test inference failed";
  } catch (const std::exception& error) {
    message = format_text("the test inference failed: {}", error.what());
  }
  if (latency_us < 0) {
    const auto taken = std::chrono::steady_clock::now() - begin;
    latency_us = std::chrono::duration_cast<std::chrono::microseconds>(taken).count();
  }
  fleet.record_test(index, latency_us, message);
}

}  // namespace

std::string_view health_name(Health health) {
  constexpr std::string_view kNames[] = {"not_initialized", "loading", "healthy", "degraded", "unhealthy"};
  return kNames[static_cast<size_t>(health)];
}

HealthReport check_quick(const Fleet& fleet) {
  const Registry& registry = fleet.registry();
  const Device& device = fleet.device();
  HealthReport report;
  report.timestamp = utc_timestamp(unix_milliseconds());
  report.device_name = device.name();
  report.isa = device.isa();
  report.budget_bytes = fleet.config().budget_bytes;
  as_far_as_known([&] { report.device = device.facts(); });
  as_far_as_known([&] {
    report.device_total_bytes = device.memory().device_total_bytes();
    report.device_available_bytes = device.memory().device_available_bytes();
    report.device_used_bytes =
        report.device_total_bytes - std::min(report.device_total_bytes, report.device_available_bytes);
  });
  // Before the components: what was warm when the fleet was, is warm or was withdrawn.
  const Fleet::Phase phase = fleet.phase();
  report.components.reserve(registry.size());
  for (size_t i = 0; i < registry.size(); ++i) report.components.push_back(look_at(registry, i, device));
  report.health = overall(phase, report.components);
  report.metrics = fleet.metrics();
  estimate_rest(registry, report);
  return report;
}

HealthReport check_full(const Fleet& fleet, const Watch& watch) {
  watch.check();
  // Nothing is tested before all is there: tests would take the time of those that load.
  const bool is_warm = fleet.is_warm();
  const size_t n = is_warm ? fleet.registry().size() : 0;
  for (size_t i = 0; i < n; ++i) {
    // What a component reports of itself says where the whole check stands.
    Watch inner = watch;
    if (watch.on_progress)
      inner.on_progress = [&](const Progress&) { return watch.on_progress({"test", i, n}); };
    test_one(fleet, i, inner);
    watch.report("test", i + 1, n);
  }
  HealthReport report = check_quick(fleet);
  report.is_full = is_warm;
  return report;
}

}  // namespace nanochat
