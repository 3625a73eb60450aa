#include "warm/preflight.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"

namespace nanochat {

namespace {

uint64_t saturated_sum(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return checked_add(a, b, sum) ? sum : std::numeric_limits<uint64_t>::max();
}

double gigabytes(uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1ULL << 30); }

std::string two_decimals(double value) {
  char text[64];  // of numbers up to 2^64 / 2^30
  const auto [end, code] = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, 2);
  return {text, code == std::errc() ? end : text};
}

std::string breakdown(const FleetPlan& plan) {
  Json list = Json::array();
  for (const FleetPlan::Part& part : plan.parts) {
    Json entry;
    entry["model_id"] = part.id;
    entry["bytes"] = part.plan.model_bytes;
    list.push_back(std::move(entry));
  }
  return write_json(list);
}

void check_capability(const Device& device, const DeviceRequirements& required) {
  const DeviceFacts facts = device.facts();
  const bool is_met = facts.capability_major != required.capability_major
                          ? facts.capability_major > required.capability_major
                          : facts.capability_minor >= required.capability_minor;
  if (is_met) return;
  const std::string actual = format_text("{}.{}", facts.capability_major, facts.capability_minor);
  const std::string wanted = format_text("{}.{}", required.capability_major, required.capability_minor);
  throw Error(Status::cuda_capability_insufficient)
      .subject(device.name())
      .field("actual_cc", actual)
      .field("required_cc", wanted)
      .field("gpu_name", facts.hardware)
      .field("gpu_id", int64_t{facts.device_id})
      .hint(format_text("use a GPU of compute capability {} or more, or ask for less", wanted))
      .say("GPU compute capability {} insufficient, required {}", actual, wanted);
}

// `limit` says what is not enough: "device_total", "budget", "available".
void require_total(const FleetPlan& plan, uint64_t required, uint64_t available, const char* limit,
                   const char* hint) {
  if (required <= available) return;
  throw Error(Status::vram_insufficient_total)
      .subject(limit)
      .field("required_bytes", required)
      .field("available_bytes", available)
      .field("required_gb", gigabytes(required))
      .field("available_gb", gigabytes(available))
      .field("limit", limit)
      .json_field("model_breakdown", breakdown(plan))
      .hint(hint)
      .say("Insufficient VRAM: required {}GB, available {}GB", two_decimals(gigabytes(required)),
           two_decimals(gigabytes(available)));
}

void require_headroom(const FleetPlan& plan) {
  const uint64_t left = plan.device_available_bytes - plan.model_bytes;
  if (left >= plan.headroom_bytes) return;
  throw Error(Status::vram_insufficient_headroom)
      .subject("vram_headroom_bytes")
      .field("model_bytes", plan.model_bytes)
      .field("available_bytes", plan.device_available_bytes)
      .field("headroom_required", plan.headroom_bytes)
      .field("headroom_available", left)
      .field("deficit_bytes", plan.headroom_bytes - left)
      .field("model_gb", gigabytes(plan.model_bytes))
      .field("available_gb", gigabytes(plan.device_available_bytes))
      .field("headroom_gb", gigabytes(plan.headroom_bytes))
      .hint("load fewer models, quantise them, or use a device with more memory")
      .say("Insufficient headroom: models {}GB, available {}GB, headroom required {}GB",
           two_decimals(gigabytes(plan.model_bytes)), two_decimals(gigabytes(plan.device_available_bytes)),
           two_decimals(gigabytes(plan.headroom_bytes)));
}

void log_plan(const FleetPlan& plan, Log& log) {
  for (const FleetPlan::Part& part : plan.parts) {
    log.write(LogLevel::info, "component {}: {} bytes predicted, {} in files", part.id, part.plan.model_bytes,
              part.plan.file_bytes);
    // What the manifest expects is a statement about the model; 5 % is what the specification lets it be off.
    const uint64_t stated = part.expected_bytes;
    if (stated > 0 && part.plan.model_bytes > stated + stated / 20) {
      log.write(LogLevel::warning, "component {}: {} bytes predicted, the manifest expects {}", part.id,
                part.plan.model_bytes, stated);
    }
  }
  log.write(LogLevel::info, "fleet: {} bytes predicted of a budget of {}; the device has {} of {} available",
            plan.model_bytes, plan.budget_bytes, plan.device_available_bytes, plan.device_total_bytes);
}

}  // namespace

FleetPlan plan_fleet(const Registry& registry, const Device& device, const WarmConfig& config) {
  FleetPlan plan;
  for (const size_t index : registry.loading_order()) {
    const ComponentSpec& spec = registry.spec(index);
    const ComponentPlan& part = registry.plan(index);
    plan.parts.push_back({spec.id, part, spec.expected_bytes});
    plan.model_bytes = saturated_sum(plan.model_bytes, part.model_bytes);
    plan.host_bytes = saturated_sum(plan.host_bytes, part.host_bytes);
    plan.largest_working_bytes = std::max(plan.largest_working_bytes, part.working_bytes);
  }
  plan.budget_bytes = config.budget_bytes;
  plan.headroom_bytes = config.headroom_bytes;
  const MemoryStats memory = device.memory().stats();
  plan.device_total_bytes = memory.device_total_bytes;
  // Blocks that are kept for reuse are given back when others need them. The runtime may have been told to
  // take less than there is.
  const bool is_known = memory.device_total_bytes > 0 || memory.device_available_bytes > 0;
  plan.device_available_bytes = is_known
                                    ? saturated_sum(memory.device_available_bytes, memory.reclaimable_bytes)
                                    : std::numeric_limits<uint64_t>::max();
  if (memory.budget_bytes > 0) {
    const uint64_t left = memory.budget_bytes - std::min(memory.budget_bytes, memory.used_bytes);
    plan.device_available_bytes = std::min(plan.device_available_bytes, left);
  }
  return plan;
}

void check_fleet_fits(const FleetPlan& plan, const Device& device, const WarmConfig& config) {
  log_plan(plan, device.log());
  check_capability(device, config.requirements);
  require_total(plan, config.requirements.total_memory_bytes, plan.device_total_bytes, "device_total",
                "use a device with more memory, or ask for less");
  require_total(plan, plan.model_bytes, plan.budget_bytes, "budget",
                "raise vram_budget_bytes, load fewer or smaller models, or quantise them");
  require_total(plan, plan.model_bytes, plan.device_available_bytes, "available",
                "free memory, load fewer or smaller models, quantise them, or use a device with more memory");
  require_headroom(plan);
}

}  // namespace nanochat
