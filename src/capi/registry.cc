// A fleet: planned, opened, warmed, asked, exchanged, shut down.
#include <algorithm>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/warm_options.h"
#include "warm/diagnostics.h"
#include "warm/fleet.h"
#include "warm/preflight.h"
#include "warm/record.h"
#include "warm/sample_fleet.h"

using namespace nanochat;

namespace {

constexpr size_t kComponentInfoSize = 152;
constexpr size_t kReplaceOptionsSize = 64;
constexpr uint64_t kDefaultDrain = 30'000;
constexpr uint64_t kLongestDrain = uint64_t{1} << 40;  // milliseconds

Fleet& require_fleet(const nanochat_registry* registry) {
  return *require_handle(registry, "registry").fleet;
}

std::string import_manifest(const char* manifest) {
  require_pointer(manifest, "manifest");
  if (*manifest == '\0')
    throw Error(Status::invalid_argument).subject("manifest").say("argument 'manifest' is empty");
  return manifest;
}

std::string import_id(const char* id) {
  require_pointer(id, "id");
  return id;
}

std::chrono::milliseconds import_drain(uint64_t milliseconds) {
  const uint64_t wait = milliseconds == 0 ? kDefaultDrain : std::min(milliseconds, kLongestDrain);
  return std::chrono::milliseconds(static_cast<int64_t>(wait));
}

// --- Starts that fail --------------------------------------------------------------------------------------

// Not a failure of the fleet: the caller stopped it, or called at the wrong time.
bool is_failed_start(const Error& error) {
  return error.status() != Status::cancelled && error.status() != Status::invalid_state;
}

// Writes the dump where it is wanted and hands it over. What goes wrong here must not hide the failure.
template <class MakeDump>
void tell_dump(const RuntimeCore& core, const std::string& folder, const nanochat_warm_options& known,
               const MakeDump& make_dump) noexcept {
  std::string text, path;
  try {
    const Json dump = make_dump();
    text = write_json(dump, 2);
    if (!folder.empty()) path = write_dump(dump, folder).path;
  } catch (const std::exception& failure) {
    core.log->write(LogLevel::error, "the dump of the failed start was not written: {}", failure.what());
  }
  if (known.on_dump != nullptr) known.on_dump(text.data(), text.size(), path.c_str(), known.dump_user_data);
}

void tell_failed_start(const RuntimeCore& core, const Fleet& fleet, const nanochat_warm_options& known,
                       const Error& error) {
  if (!is_failed_start(error)) return;
  tell_dump(core, fleet.config().dump_path, known, [&] { return diagnostic_dump(fleet, &error); });
}

// Of a start that did not get as far as a fleet. Where dumps go is not known if it was the manifest that
// failed.
void tell_failed_open(const RuntimeCore& core, const std::string& manifest,
                      const nanochat_warm_options& known, const Error& error) {
  WarmConfig config;
  try {
    read_manifest(manifest).settings.apply(config);
  } catch (const Error&) {
    config.dump_path.clear();
  }
  warm_settings(known).apply(config);
  tell_dump(core, config.dump_path, known, [&] { return diagnostic_dump(*core.device, config, error); });
}

std::shared_ptr<Fleet> open_fleet(const RuntimeCore& core, const std::string& manifest,
                                  const nanochat_warm_options& known) {
  try {
    return Fleet::open(core.device, manifest, warm_settings(known));
  } catch (const Error& error) {
    tell_failed_open(core, manifest, known, error);
    throw;
  }
}

void warm_fleet(const RuntimeCore& core, Fleet& fleet, const nanochat_warm_options& known) {
  bool is_told = false;
  LoadWatch watch = load_watch(known);
  watch.before_release = [&](const Error& error) {
    is_told = true;
    tell_failed_start(core, fleet, known, error);
  };
  try {
    fleet.warm(watch);
  } catch (const Error& error) {
    if (!is_told) tell_failed_start(core, fleet, known, error);
    throw;
  }
}

// --- Plan --------------------------------------------------------------------------------------------------

Json part_json(const FleetPlan::Part& part) {
  Json json;
  json["model_id"] = part.id;
  json["model_bytes"] = part.plan.model_bytes;
  json["working_bytes"] = part.plan.working_bytes;
  json["host_bytes"] = part.plan.host_bytes;
  json["file_bytes"] = part.plan.file_bytes;
  json["parameters"] = part.plan.n_parameters;
  json["dimension"] = part.plan.dimension;
  return json;
}

Json plan_json(const Fleet& fleet) {
  const FleetPlan plan = fleet.plan();
  Json json;
  json["schema"] = "nanochat.warm_plan.v1";
  json["fits"] = true;
  try {
    check_fleet_fits(plan, fleet.device(), fleet.config());
  } catch (const Error& error) {
    json["fits"] = false;
    json["error"] = parse_json(error_json(error), "error");
  }
  json["device"] = fleet.device().name();
  json["hardware"] = fleet.device().facts().hardware;
  json["model_bytes"] = plan.model_bytes;
  json["largest_working_bytes"] = plan.largest_working_bytes;
  json["host_bytes"] = plan.host_bytes;
  json["budget_bytes"] = plan.budget_bytes;
  json["headroom_bytes"] = plan.headroom_bytes;
  json["device_total_bytes"] = plan.device_total_bytes;
  json["device_available_bytes"] = plan.device_available_bytes;
  json["configuration"] = warm_config_json(fleet.config());
  Json& parts = json["models"];
  parts = Json::array();
  for (const FleetPlan::Part& part : plan.parts) parts.push_back(part_json(part));
  return json;
}

// --- Components --------------------------------------------------------------------------------------------

nanochat_component_info describe(const Registry& registry, size_t index) {
  const EntryStatus status = registry.status(index);
  const ComponentSpec& spec = registry.spec(index);
  const ComponentPlan& plan = registry.plan(index);
  nanochat_component_info info{};
  info.id = spec.id.c_str();
  info.planned_bytes = plan.model_bytes;
  info.bytes_loaded = status.bytes_loaded;
  info.file_bytes = plan.file_bytes;
  info.dimension = plan.dimension;
  info.load_ms = status.load_ms;
  info.last_latency_us = status.last_latency_us;
  info.kind = static_cast<int32_t>(spec.kind);
  info.state = static_cast<int32_t>(status.state);
  info.progress_percent = status.progress_percent;
  info.test_passed = status.test_passed ? 1 : 0;
  info.error = static_cast<nanochat_status>(status.error);
  if (const auto component = registry.acquire(index)) {
    info.address = reinterpret_cast<uintptr_t>(component->address());
    info.bytes = component->bytes();
    info.locked_bytes = component->locked_bytes();
    if (has_weights(spec.kind)) export_text(component->checksum().hex(), info.checksum);
  }
  return info;
}

// A pointer to a part of a component that keeps the component where it is: so does all that copies it, such
// as a session.
template <class Part>
std::shared_ptr<const Part> leased(const std::shared_ptr<const Component>& component,
                                   const std::shared_ptr<const Part>& part) {
  return {component, part.get()};
}

[[noreturn]] void refuse_kind(const Component& component, const char* wanted) {
  const ComponentSpec& spec = component.spec();
  throw Error(Status::unsupported)
      .subject(spec.id)
      .field("model_id", spec.id)
      .say("component '{}' is a {}, it has no {}", spec.id, component_kind_name(spec.kind), wanted);
}

nanochat_model* lease_model(const SharedCore& core, const std::shared_ptr<const Component>& component) {
  if (component->model()) return new nanochat_model{core, leased(component, component->model())};
  if (!component->encoder()) refuse_kind(*component, "model");
  return new nanochat_model{core, nullptr, leased(component, component->encoder()), component->images()};
}

nanochat_fusion* lease_fusion(const SharedCore& core, const std::shared_ptr<const Component>& component) {
  if (!component->fusion()) refuse_kind(*component, "fusion");
  auto statistics = std::make_unique<ExpertStatistics>(component->fusion()->config().n_experts);
  return new nanochat_fusion{core, leased(component, component->fusion()), std::move(statistics)};
}

std::vector<TimePoint> import_moments(const double* numbers, size_t n) {
  std::vector<TimePoint> moments;
  for (size_t i = 0; numbers != nullptr && i < n; ++i) moments.push_back(time_point_of(numbers[i]));
  return moments;
}

const char* or_empty(const char* text) { return text == nullptr ? "" : text; }

}  // namespace

extern "C" {

nanochat_status nanochat_warm_plan(const nanochat_runtime* runtime, const char* manifest,
                                   const nanochat_warm_options* options, nanochat_text** out_json,
                                   nanochat_error** error) {
  return guard(error, [&] {
    const RuntimeCore& core = *require_handle(runtime, "runtime").core;
    require_pointer(out_json, "out_json");
    const nanochat_warm_options known = import_warm_options(options);
    const auto fleet = Fleet::open(core.device, import_manifest(manifest), warm_settings(known));
    *out_json = make_text(write_json(plan_json(*fleet), 2));
  });
}

nanochat_status nanochat_registry_open(const nanochat_runtime* runtime, const char* manifest,
                                       const nanochat_warm_options* options, nanochat_registry** out_registry,
                                       nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_registry, "out_registry");
    const nanochat_warm_options known = import_warm_options(options);
    *out_registry = new nanochat_registry{core, open_fleet(*core, import_manifest(manifest), known)};
  });
}

nanochat_status nanochat_registry_warm(const nanochat_registry* registry,
                                       const nanochat_warm_options* options, nanochat_error** error) {
  return guard(error, [&] {
    Fleet& fleet = require_fleet(registry);
    warm_fleet(*registry->core, fleet, import_warm_options(options));
  });
}

nanochat_status nanochat_warm_load(const nanochat_runtime* runtime, const char* manifest,
                                   const nanochat_warm_options* options, nanochat_registry** out_registry,
                                   nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_registry, "out_registry");
    const nanochat_warm_options known = import_warm_options(options);
    auto fleet = open_fleet(*core, import_manifest(manifest), known);
    warm_fleet(*core, *fleet, known);
    *out_registry = new nanochat_registry{core, std::move(fleet)};
  });
}

void nanochat_registry_free(nanochat_registry* registry) { delete registry; }

int32_t nanochat_registry_is_warm(const nanochat_registry* registry) {
  return registry != nullptr && registry->fleet->is_warm() ? 1 : 0;
}

size_t nanochat_registry_count(const nanochat_registry* registry) {
  return registry == nullptr ? 0 : registry->fleet->registry().size();
}

nanochat_status nanochat_registry_find(const nanochat_registry* registry, const char* id, size_t* out_index,
                                       nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_index, "out_index");
    *out_index = fleet.registry().find(import_id(id));
  });
}

nanochat_status nanochat_registry_describe(const nanochat_registry* registry, size_t index,
                                           nanochat_component_info* info, nanochat_error** error) {
  return guard(error, [&] {
    const Registry& asked = require_fleet(registry).registry();
    require_info(info, "nanochat_component_info", kComponentInfoSize);
    if (index >= asked.size()) {
      throw Error(Status::out_of_range)
          .subject("index")
          .say("index is {}, the registry has {} components", index, asked.size());
    }
    export_info(describe(asked, index), info);
  });
}

nanochat_status nanochat_registry_model(const nanochat_registry* registry, const char* id,
                                        nanochat_model** out_model, nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_model, "out_model");
    *out_model = lease_model(registry->core, fleet.component(import_id(id)));
  });
}

nanochat_status nanochat_registry_tokenizer(const nanochat_registry* registry, const char* id,
                                            nanochat_tokenizer** out_tokenizer, nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_tokenizer, "out_tokenizer");
    const auto component = fleet.component(import_id(id));
    if (!component->tokenizer()) refuse_kind(*component, "tokenizer");
    *out_tokenizer = new nanochat_tokenizer{registry->core, leased(component, component->tokenizer())};
  });
}

nanochat_status nanochat_registry_fusion(const nanochat_registry* registry, const char* id,
                                         nanochat_fusion** out_fusion, nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_fusion, "out_fusion");
    *out_fusion = lease_fusion(registry->core, fleet.component(import_id(id)));
  });
}

nanochat_status nanochat_registry_embed_text(const nanochat_registry* registry, const char* id,
                                             const char* const* texts, const size_t* text_sizes,
                                             size_t n_texts, const nanochat_cancel* cancel,
                                             nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_embeddings, "out_embeddings");
    const std::string asked = import_id(id);
    const auto views = import_texts({texts, text_sizes, n_texts});
    *out_embeddings =
        new nanochat_embeddings{fleet.embed(asked, views, make_watch(nullptr, nullptr, cancel))};
  });
}

nanochat_status nanochat_registry_fuse_text(const nanochat_registry* registry, const char* fusion_id,
                                            const char* const* texts, const size_t* text_sizes,
                                            const double* times, const double* positions, size_t n_texts,
                                            const nanochat_cancel* cancel,
                                            nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_embeddings, "out_embeddings");
    const auto views = import_texts({texts, text_sizes, n_texts});
    const auto moments = import_moments(times, n_texts), places = import_moments(positions, n_texts);
    const Fleet::FusionRequest request{or_empty(fusion_id), views, moments, places};
    *out_embeddings = new nanochat_embeddings{fleet.fuse(request, make_watch(nullptr, nullptr, cancel))};
  });
}

void nanochat_replace_options_init(nanochat_replace_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_registry_replace(const nanochat_registry* registry, const char* id,
                                          const nanochat_replace_options* options, nanochat_error** error) {
  return guard(error, [&] {
    Fleet& fleet = require_fleet(registry);
    const std::string asked = import_id(id);
    const auto known = import_options(options, "nanochat_replace_options", kReplaceOptionsSize);
    const Fleet::Replacement replacement{asked, or_empty(known.path), or_empty(known.reference),
                                         or_empty(known.checksum), import_drain(known.drain_ms)};
    fleet.replace(replacement, make_watch(known.progress, known.progress_user_data, known.cancel));
  });
}

nanochat_status nanochat_registry_verify(const nanochat_registry* registry, const nanochat_cancel* cancel,
                                         nanochat_error** error) {
  return guard(error, [&] { require_fleet(registry).verify_resident(make_watch(nullptr, nullptr, cancel)); });
}

nanochat_status nanochat_registry_shutdown(const nanochat_registry* registry, uint64_t drain_ms,
                                           nanochat_error** error) {
  return guard(error, [&] { require_fleet(registry).shut_down(import_drain(drain_ms)); });
}

nanochat_status nanochat_registry_record(const nanochat_registry* registry, const char* folder,
                                         const nanochat_cancel* cancel, nanochat_text** out_manifest,
                                         nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_manifest, "out_manifest");
    const Watch watch = make_watch(nullptr, nullptr, cancel);
    *out_manifest = make_text(record_fleet(fleet, or_empty(folder), watch));
  });
}

nanochat_status nanochat_registry_dump(const nanochat_registry* registry, const char* folder,
                                       nanochat_text** out_json, nanochat_text** out_path,
                                       nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = require_fleet(registry);
    require_pointer(out_json, "out_json");
    const Json dump = diagnostic_dump(fleet, nullptr);
    auto json = std::unique_ptr<nanochat_text>(make_text(write_json(dump, 2)));
    std::unique_ptr<nanochat_text> path(make_text(folder == nullptr ? "" : write_dump(dump, folder).path));
    if (out_path != nullptr) *out_path = path.release();
    *out_json = json.release();
  });
}

nanochat_status nanochat_warm_create_sample(const nanochat_runtime* runtime, const char* path, uint64_t seed,
                                            const nanochat_cancel* cancel, nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    write_sample_fleet(core->device, import_path(path), seed, make_watch(nullptr, nullptr, cancel));
  });
}

}  // extern "C"
