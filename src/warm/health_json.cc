// A health report as others read it: JSON for programs, a line for people.
#include <charconv>

#include "warm/diagnostics.h"
#include "warm/health.h"

namespace nanochat {

namespace {

std::string address_hex(uint64_t address) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, address, 16).ptr;
  const auto n = static_cast<size_t>(end - digits);
  return "0x" + std::string(sizeof digits - n, '0') + std::string(digits, n);
}

bool is_failing(const ComponentHealth& component) {
  return component.entry.state == WarmState::warm && !component.problem.empty();
}

std::string_view status_of(const ComponentHealth& component) {
  return is_failing(component) ? "warm_but_failing" : state_name(component.entry.state);
}

Json gpu_json(const HealthReport& report) {
  const DeviceFacts& facts = report.device;
  const bool has_capability = facts.capability_major > 0;
  Json json = {
      {"name", facts.hardware},
      {"vram_total_bytes", report.device_total_bytes},
      {"vram_used_bytes", report.device_used_bytes},
      {"vram_free_bytes", report.device_available_bytes},
      {"compute_capability",
       has_capability ? format_text("{}.{}", facts.capability_major, facts.capability_minor) : std::string()},
      {"driver_version", facts.driver_version},
      {"cuda_version", facts.cuda_version},
      {"device", report.device_name},
      {"device_id", facts.device_id},
      {"isa", report.isa}};
  if (facts.temperature_celsius >= 0) json["temperature_celsius"] = facts.temperature_celsius;
  if (facts.power_watts >= 0) json["power_usage_watts"] = facts.power_watts;
  return json;
}

void add_error(const ComponentHealth& component, Json& json) {
  if (is_failing(component)) {
    json["error_message"] = component.problem;
  } else if (component.entry.state == WarmState::failed) {
    json["error_message"] = component.entry.message;
    json["error_code"] = static_cast<int32_t>(component.entry.error);
  }
}

void add_further_keys(const ComponentHealth& component, Json& json) {
  json["kind"] = component_kind_name(component.kind);
  json["computed"] = !has_weights(component.kind);
  json["dimension"] = component.dimension;
  json["checksum"] = component.checksum;
  json["expected_bytes"] = component.expected_bytes;
  json["locked_bytes"] = component.locked_bytes;
  json["is_resident"] = component.is_resident;
  json["progress_percent"] = component.entry.progress_percent;
  json["bytes_loaded"] = component.entry.bytes_loaded;
  json["load_duration_ms"] = component.entry.load_ms >= 0 ? Json(component.entry.load_ms) : Json();
  add_error(component, json);
}

Json model_json(const ComponentHealth& component) {
  Json json = {{"model_id", component.id},
               {"status", status_of(component)},
               {"vram_address", address_hex(component.address)},
               {"allocation_bytes", component.allocation_bytes}};
  if (component.entry.last_latency_us >= 0) {
    json["last_inference_latency_us"] = component.entry.last_latency_us;
  }
  json["test_inference_passed"] = component.entry.test_passed;
  add_further_keys(component, json);
  return json;
}

// A fusion is loaded as a whole or not at all: its gate and its experts' output projections are there when it
// is.
Json fusion_json(const ComponentHealth& component) {
  const bool is_loaded =
      component.entry.state == WarmState::warm || component.entry.state == WarmState::validating;
  Json json = {{"status", status_of(component)},
               {"vram_address", address_hex(component.address)},
               {"allocation_bytes", component.allocation_bytes},
               {"gating_network_loaded", is_loaded},
               {"output_projection_loaded", is_loaded},
               {"test_fusion_passed", component.entry.test_passed},
               {"model_id", component.id}};
  if (component.entry.last_latency_us >= 0) {
    json["last_inference_latency_us"] = component.entry.last_latency_us;
  }
  add_further_keys(component, json);
  return json;
}

Json measured(double milliseconds) { return milliseconds >= 0 ? Json(milliseconds) : Json(); }

Json metrics_json(const FleetMetrics& metrics) {
  return {{"total_model_vram_bytes", metrics.total_model_bytes},
          {"startup_duration_ms", metrics.startup_ms >= 0 ? Json(metrics.startup_ms) : Json()},
          {"first_inference_latency_ms", measured(metrics.first_request_ms)},
          {"steady_state_latency_mean_ms", measured(metrics.steady_mean_ms)},
          {"requests", metrics.n_requests},
          {"failed_requests", metrics.n_failed},
          {"uptime_ms", metrics.uptime_ms}};
}

size_t count_of(const HealthReport& report, WarmState state) {
  size_t n = 0;
  for (const ComponentHealth& component : report.components) n += component.entry.state == state ? 1 : 0;
  return n;
}

}  // namespace

Json health_json(const HealthReport& report) {
  Json models = Json::array(), fusions = Json::array();
  for (const ComponentHealth& component : report.components) {
    if (component.kind == ComponentKind::fusion) {
      fusions.push_back(fusion_json(component));
    } else {
      models.push_back(model_json(component));
    }
  }
  Json first_fusion, further_fusions = Json::array();
  for (size_t i = 0; i < fusions.size(); ++i) {
    if (i == 0) first_fusion = fusions[i];
    if (i > 0) further_fusions.push_back(fusions[i]);
  }
  const double seconds = report.estimated_seconds_remaining;
  return {{"schema", "nanochat.health.v1"},
          {"status", health_name(report.health)},
          {"timestamp", report.timestamp},
          {"is_full", report.is_full},
          {"gpu", gpu_json(report)},
          {"models", std::move(models)},
          {"fusemoe", std::move(first_fusion)},
          {"fusions", std::move(further_fusions)},
          {"metrics", metrics_json(report.metrics)},
          {"loading_progress", report.loading_progress * 100},
          {"models_loaded", count_of(report, WarmState::warm)},
          {"models_total", report.components.size()},
          {"estimated_time_remaining", seconds >= 0 ? Json(seconds) : Json()},
          {"vram_budget_bytes", report.budget_bytes}};
}

std::string health_line(const HealthReport& report) {
  const size_t n = report.components.size(), n_warm = count_of(report, WarmState::warm);
  size_t n_failing = 0;
  for (const ComponentHealth& component : report.components) n_failing += is_failing(component) ? 1 : 0;
  std::string verdict;
  switch (report.health) {
    case Health::not_initialized:
      verdict = "NOT INITIALIZED";
      break;
    case Health::loading:
      verdict = format_text("LOADING: {}/{}", n_warm, n);
      break;
    case Health::healthy:
      verdict = "OK";
      break;
    case Health::degraded:
      verdict = format_text("DEGRADED: {}", n_failing);
      break;
    case Health::unhealthy:
      verdict = format_text("ERRORS: {}", std::max<size_t>(count_of(report, WarmState::failed), 1));
      break;
  }
  return format_text("WARM: {}/{} models | {}/{} VRAM | {}", n_warm, n,
                     format_bytes(report.metrics.total_model_bytes), format_bytes(report.budget_bytes),
                     verdict);
}

}  // namespace nanochat
