#include "warm/diagnostics.h"

#include <algorithm>

#include "base/file.h"
#include "base/status_facts.h"
#include "base/timestamp.h"
#include "warm/system_info.h"

namespace nanochat {

namespace {

constexpr std::string_view kFallbackFolder = "/tmp";

std::string describe_state(const EntryStatus& entry) {
  switch (entry.state) {
    case WarmState::pending:
      return "Pending";
    case WarmState::loading:
      return format_text("Loading ({}%)", entry.progress_percent);
    case WarmState::validating:
      return "Validating";
    case WarmState::warm:
      return "Warm";
    case WarmState::failed:
      return "Failed";
  }
  return "";
}

Json error_json(const Error& error) {
  const StatusFacts& facts = status_facts(error.status());
  Json details = Json::object();
  for (const Error::Field& field : error.fields()) details[field.name] = field.text;
  Json json = {{"code", static_cast<int32_t>(error.status())},
               {"name", facts.name},
               {"message", error.message()},
               {"details", std::move(details)},
               {"code_string", facts.code},
               {"category", facts.category},
               {"exit_code", exit_code(error.status())},
               {"subject", error.subject()},
               {"hint", error.hint()},
               {"os_code", error.os_code()}};
  json["cause"] = error.cause() == nullptr ? Json() : error_json(*error.cause());
  return json;
}

// What a device that has failed cannot say is left out, and why is said instead: a dump is made in any case.
Json gpu_json(const Device& device) {
  DeviceFacts facts;
  uint64_t total = 0, available = 0;
  std::string failure;
  try {
    facts = device.facts();
    total = device.memory().device_total_bytes();
    available = device.memory().device_available_bytes();
  } catch (const Error& error) {
    failure = error.message();
  }
  const MemoryStats stats = device.memory().stats();
  const bool has_capability = facts.capability_major > 0;
  const std::string capability = format_text("{}.{}", facts.capability_major, facts.capability_minor);
  const auto measured = [](double value) { return value >= 0 ? Json(value) : Json(); };
  Json json = {{"device_name", facts.hardware},
               {"driver_version", facts.driver_version},
               {"cuda_version", facts.cuda_version},
               {"compute_capability", has_capability ? capability : std::string()},
               {"vram_total_bytes", total},
               {"vram_used_bytes", total - std::min(total, available)},
               {"vram_free_bytes", available},
               {"temperature_celsius", measured(facts.temperature_celsius)},
               {"power_usage_watts", measured(facts.power_watts)},
               {"device", device.name()},
               {"device_id", facts.device_id},
               {"isa", device.isa()},
               {"model_pool_bytes", stats.model_bytes},
               {"working_pool_bytes", stats.working_bytes},
               {"reclaimable_bytes", stats.reclaimable_bytes},
               {"high_water_bytes", stats.high_water_bytes},
               {"runtime_budget_bytes", stats.budget_bytes}};
  if (!failure.empty()) json["query_failure"] = failure;
  return json;
}

Json progress_json(const Registry& registry) {
  Json list = Json::array();
  for (size_t i = 0; i < registry.size(); ++i) {
    const EntryStatus entry = registry.status(i);
    const ComponentPlan& plan = registry.plan(i);
    Json json = {{"model_id", registry.spec(i).id},
                 {"state", describe_state(entry)},
                 {"bytes_loaded", entry.bytes_loaded},
                 {"total_bytes", plan.file_bytes},
                 {"progress_percent", entry.progress_percent},
                 {"load_duration_ms", entry.load_ms >= 0 ? Json(entry.load_ms) : Json()},
                 {"kind", component_kind_name(registry.spec(i).kind)},
                 {"path", registry.spec(i).path},
                 {"expected_bytes", plan.model_bytes},
                 {"dimension", plan.dimension}};
    if (entry.state == WarmState::failed) {
      json["error_code"] = static_cast<int32_t>(entry.error);
      json["error_message"] = entry.message;
    }
    list.push_back(std::move(json));
  }
  return list;
}

Json history_json(const Memory& memory) {
  Json list = Json::array();
  for (const MemoryEvent& event : memory.history()) {
    list.push_back({{"timestamp", utc_timestamp(event.unix_ms)},
                    {"name", event.label},
                    {"bytes", event.bytes},
                    {"success", event.success},
                    {"vram_after", event.used_after},
                    {"operation", event.is_free ? "FREE" : "ALLOC"}});
  }
  return list;
}

// What a dump is about. Without a fleet, opening it failed.
struct Scene {
  const Device& device;
  const WarmConfig& config;
  const Fleet* fleet;
  const Error* error;
};

std::string describe_error(const std::string& what, const Error& error) {
  std::string text = format_text("{} did not start: {} (exit code {}, {}).", what, error.message(),
                                 exit_code(error.status()), status_facts(error.status()).code);
  if (!error.hint().empty()) text += format_text(" Hint: {}.", error.hint());
  return text;
}

std::string describe_components(const Registry& registry) {
  std::string text =
      format_text(" {} of {} components were warm, {} loading, {} failed.", registry.count(WarmState::warm),
                  registry.size(), registry.count(WarmState::loading) + registry.count(WarmState::validating),
                  registry.count(WarmState::failed));
  for (size_t i = 0; i < registry.size(); ++i) {
    if (registry.state(i) == WarmState::failed) text += format_text(" Failed: {}.", registry.spec(i).id);
  }
  return text;
}

std::string summary_of(const Scene& scene, const Json& gpu) {
  const std::string fleet = scene.fleet == nullptr ? std::string("The fleet")
                                                   : format_text("Fleet '{}'", scene.fleet->manifest().name);
  std::string text =
      scene.error == nullptr ? fleet + ": its state, on request." : describe_error(fleet, *scene.error);
  if (scene.fleet != nullptr) text += describe_components(scene.fleet->registry());
  const auto bytes = [&](const char* key) { return format_bytes(gpu.at(key).get<uint64_t>()); };
  return text += format_text(" Device {} ({}): {} free of {}; budget {}, headroom {}.", scene.device.name(),
                             gpu.at("device_name").get<std::string>(), bytes("vram_free_bytes"),
                             bytes("vram_total_bytes"), format_bytes(scene.config.budget_bytes),
                             format_bytes(scene.config.headroom_bytes));
}

Json dump_of(const Scene& scene) {
  const Fleet* const fleet = scene.fleet;
  Json gpu = gpu_json(scene.device);
  Json configuration = warm_config_json(scene.config);
  if (fleet != nullptr) configuration["manifest"] = fleet->manifest().path;
  const std::string summary = summary_of(scene, gpu);
  return mask_secrets_in(
      {{"summary", summary},
       {"schema", "nanochat.diagnostic_dump.v1"},
       {"timestamp", utc_timestamp(unix_milliseconds())},
       {"error", scene.error == nullptr ? Json() : error_json(*scene.error)},
       {"gpu_state", std::move(gpu)},
       {"model_progress", fleet == nullptr ? Json::array() : progress_json(fleet->registry())},
       {"configuration", std::move(configuration)},
       {"allocation_history", history_json(scene.device.memory())},
       {"system_info", system_info()}});
}

// A name that nothing has yet: two starts may fail within a millisecond.
std::string free_path(const std::string& folder, std::string_view before, std::string_view after) {
  for (int64_t unix_ms = unix_milliseconds();; ++unix_ms) {
    const std::string name = std::string(before) + utc_file_stamp(unix_ms) + std::string(after);
    std::string path = join_path(folder, name);
    if (!file_exists(path)) return path;
  }
}

}  // namespace

Json diagnostic_dump(const Fleet& fleet, const Error* error) {
  return dump_of({fleet.device(), fleet.config(), &fleet, error});
}

Json diagnostic_dump(const Device& device, const WarmConfig& config, const Error& error) {
  return dump_of({device, config, nullptr, &error});
}

DumpPlace write_dump(const Json& dump, const std::string& folder) {
  DumpPlace place;
  if (folder.empty()) return place;
  const std::string path = free_path(folder, "startup-failure-", ".dump");
  try {
    make_directories(folder);
    write_file(path, write_json(dump, 2) + "\n");
    place.path = path;
    return place;
  } catch (const Error& error) {
    place.failure = error.message();
  }
  const std::string fallback = free_path(std::string(kFallbackFolder), "context-graph-dump-", ".json");
  try {
    Json told = dump;
    told["dump_failure"] = mask_secrets(place.failure);
    write_file(fallback, write_json(told, 2) + "\n");
    place.path = fallback;
    return place;
  } catch (const Error& error) {
    throw Error(Status::diagnostic_dump_failed)
        .subject(path)
        .field("reason", place.failure + "; " + error.message())
        .hint("make one of the two folders writable, or name another one as diagnostic_dump_path")
        .cause(error)
        .say("the diagnostic dump was written neither to {} ({}) nor to {} ({})", path, place.failure,
             fallback, error.message());
  }
}

}  // namespace nanochat
