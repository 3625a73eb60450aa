#include "warm/fleet.h"

#include <algorithm>
#include <charconv>

#include "infer/embed_computed.h"

namespace nanochat {

namespace {

using std::chrono::steady_clock;

int64_t since(steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - begin).count();
}

// "cuda:1" is device 1; the host is device 0.
int32_t device_number(const std::string& name) {
  const size_t colon = name.find(':');
  int32_t number = 0;
  if (colon != std::string::npos) {
    std::from_chars(name.data() + colon + 1, name.data() + name.size(), number);
  }
  return number;
}

void check_device(const Device& device, const WarmConfig& config) {
  const int32_t number = device_number(device.name());
  if (config.device_id == number) return;
  throw Error(Status::config_invalid)
      .subject("cuda_device_id")
      .field("field", "cuda_device_id")
      .say("cuda_device_id is {}, but the runtime's device is {}", config.device_id, device.name())
      .hint("create the runtime for the device that the fleet is meant for");
}

void require_length(std::span<const TimePoint> list, size_t n, const char* what, const std::string& id) {
  if (list.size() == n) return;
  throw Error(Status::invalid_argument)
      .subject(what)
      .say("there are {} {}, but {} texts; component '{}' needs one for each", list.size(), what, n, id);
}

Embeddings embed_part(const Component& part, const Fleet::FusionRequest& request, const Watch& watch) {
  const size_t n = request.texts.size();
  const ComponentSpec& spec = part.spec();
  TemporalOptions options;
  if (spec.reference_time != 0.0) options.reference = time_point_of(spec.reference_time);
  switch (spec.kind) {
    case ComponentKind::temporal_recent:
      require_length(request.times, n, "times", spec.id);
      return embed_times(TemporalEmbedder::recent, request.times, options);
    case ComponentKind::temporal_periodic:
      require_length(request.times, n, "times", spec.id);
      return embed_times(TemporalEmbedder::periodic, request.times, options);
    case ComponentKind::temporal_positional: {
      if (!request.positions.empty()) require_length(request.positions, n, "positions", spec.id);
      std::vector<TimePoint> positions(request.positions.begin(), request.positions.end());
      while (positions.size() < n) positions.push_back({static_cast<int64_t>(positions.size()), 0.0});
      return embed_times(TemporalEmbedder::positional, positions, options);
    }
    default:
      return part.embed_texts(request.texts, watch);
  }
}

}  // namespace

std::shared_ptr<Fleet> Fleet::open(std::shared_ptr<Device> device, const std::string& manifest_path,
                                   const WarmSettings& settings) {
  std::shared_ptr<Fleet> fleet(new Fleet);
  fleet->device_ = std::move(device);
  fleet->manifest_ = read_manifest(manifest_path);
  fleet->manifest_.settings.apply(fleet->config_);
  settings.apply(fleet->config_);
  if (fleet->config_.weights_path.empty()) fleet->config_.weights_path = fleet->manifest_.folder;
  check_warm_config(fleet->config_);
  check_device(*fleet->device_, fleet->config_);
  fleet->plan_components(fleet->manifest_.components);
  return fleet;
}

// Fusions come last: what they take is what the others give.
void Fleet::plan_components(std::vector<ComponentSpec> components) {
  std::vector<ComponentPlan> plans(components.size());
  for (size_t i = 0; i < components.size(); ++i) {
    if (components[i].kind != ComponentKind::fusion) plans[i] = Component::plan(components[i], config_);
  }
  for (size_t i = 0; i < components.size(); ++i) {
    if (components[i].kind != ComponentKind::fusion) continue;
    resolve_fusion_parts(components, plans, components[i]);
    plans[i] = Component::plan(components[i], config_);
  }
  std::vector<RegistryItem> items;
  for (size_t i = 0; i < components.size(); ++i) items.push_back({std::move(components[i]), plans[i]});
  registry_ = Registry::create(std::move(items));
}

FleetPlan Fleet::plan() const { return plan_fleet(*registry_, *device_, config_); }

void Fleet::warm(const LoadWatch& watch) {
  const std::lock_guard lock(changes_);
  if (phase_.load() != Phase::open) {
    throw Error(Status::invalid_state)
        .subject(manifest_.name)
        .say("fleet '{}' was warmed before, or a start of it failed", manifest_.name)
        .hint("open it anew");
  }
  const auto begin = steady_clock::now();
  phase_.store(Phase::loading);
  try {
    check_fleet_fits(plan(), *device_, config_);
    load_fleet(*registry_, device_, config_, watch);
  } catch (...) {
    phase_.store(Phase::failed);
    throw;
  }
  startup_ms_.store(since(begin) / 1'000'000);
  phase_.store(Phase::warm);
}

std::shared_ptr<const Component> Fleet::component(std::string_view id) const {
  const size_t index = registry_->find(id);
  // Not before all are: a fleet is ready as a whole.
  if (is_warm()) {
    if (auto held = registry_->acquire(index)) return held;
  }
  const Phase phase = phase_.load();
  throw Error(Status::invalid_state)
      .subject(id)
      .say("component '{}' is asked for, but the fleet {}", id,
           phase == Phase::closed    ? "is shut down"
           : phase == Phase::failed  ? "failed to start"
           : phase == Phase::loading ? "is still loading"
                                     : "is not warm yet");
}

template <class F>
Embeddings Fleet::counted(const F& request) const {
  const auto begin = steady_clock::now();
  try {
    Embeddings out = request();
    const int64_t ns = since(begin);
    const uint64_t before = n_requests_.fetch_add(1);
    if (before == 0) first_ns_.store(ns);
    if (before >= 100) {
      steady_ns_.fetch_add(ns);
      steady_count_.fetch_add(1);
    }
    return out;
  } catch (...) {
    n_failed_.fetch_add(1);
    throw;
  }
}

Embeddings Fleet::embed(std::string_view id, std::span<const std::string_view> texts,
                        const Watch& watch) const {
  return counted([&] { return component(id)->embed_texts(texts, watch); });
}

std::shared_ptr<const Component> Fleet::require_fusion(std::string_view id) const {
  if (!id.empty()) {
    auto named = component(id);
    if (named->fusion() != nullptr) return named;
    throw Error(Status::unsupported)
        .subject(id)
        .say("component '{}' is of kind {}, expected fusion", id, component_kind_name(named->spec().kind));
  }
  std::string_view only;
  for (size_t i = 0; i < registry_->size(); ++i) {
    if (registry_->spec(i).kind != ComponentKind::fusion) continue;
    if (!only.empty()) {
      throw Error(Status::invalid_argument)
          .subject("fusion")
          .say("the fleet has several fusions ('{}', '{}'), name one", only, registry_->spec(i).id);
    }
    only = registry_->spec(i).id;
  }
  if (only.empty()) {
    throw Error(Status::not_found).subject("fusion").say("fleet '{}' has no fusion", manifest_.name);
  }
  return component(only);
}

Embeddings Fleet::fuse(const FusionRequest& request, const Watch& watch) const {
  return counted([&] {
    const auto fusion = require_fusion(request.fusion);
    const FuseMoe& fuse = *fusion->fusion();
    const size_t n = request.texts.size(), width = static_cast<size_t>(fuse.config().input_dim);
    std::vector<float> rows(n * width);
    for (const FusionProjection& projection : fusion->projections()) {
      const FusionInput& to = projection.input();
      const Embeddings part = embed_part(*component(to.id), request, watch);
      for (size_t i = 0; i < n; ++i) {
        project_embedding(projection, part, i,
                          std::span(rows).subspan(i * width + static_cast<size_t>(to.offset),
                                                  static_cast<size_t>(to.fusion_dim)));
      }
    }
    return embed_fused(fuse, {rows, static_cast<int64_t>(n), static_cast<int64_t>(width)}, watch);
  });
}

void Fleet::replace(const Replacement& replacement, const Watch& watch) {
  const std::lock_guard lock(changes_);
  const size_t index = registry_->find(replacement.id);
  ComponentSpec spec = component(replacement.id)->spec();
  if (!replacement.path.empty()) spec.path = replacement.path;
  if (!replacement.reference.empty()) spec.test.reference = replacement.reference;
  // Other weights have another checksum, and perhaps other answers.
  spec.checksum = replacement.checksum;
  spec.expected_bytes = 0;
  registry_->require_replaceable(index);  // before anything is loaded, so that there are never three
  registry_->replace(index, load_component(device_, spec, config_, watch));
  const int64_t n_users = registry_->drain(index, replacement.drain);
  if (n_users > 0) {
    throw Error(Status::deadline_exceeded)
        .subject(replacement.id)
        .field("users", n_users)
        .say("component '{}' is replaced, but {} users still hold what it was after {} ms", replacement.id,
             n_users, replacement.drain.count());
  }
}

void Fleet::verify_resident(const Watch& watch) const {
  const std::lock_guard lock(resident_mutex_);
  resident_hashes_.resize(registry_->size());
  for (size_t i = 0; i < registry_->size(); ++i) {
    watch.check();
    const ComponentSpec& spec = registry_->spec(i);
    if (!has_weights(spec.kind)) continue;
    const auto held = component(spec.id);
    ResidentHash& known = resident_hashes_[i];
    const Hash128 now = held->hash_resident();
    // After a replacement there is something new to remember.
    if (known.checksum != held->checksum() || known.address != held->address()) {
      known = {held->checksum(), held->address(), now};
    }
    if (known.resident == now) continue;
    const std::string reason =
        format_text("its weights in memory have the hash {}, expected {}", now.hex(), known.resident.hex());
    throw Error(Status::model_validation_failed)
        .subject(spec.id)
        .field("model_id", spec.id)
        .field("reason", reason)
        .hint("the memory was overwritten: restart, and look for the writer")
        .say("Model validation failed for {}: {}", spec.id, reason);
  }
}

// In the reverse order of loading, so that what others give to goes first.
void Fleet::shut_down(std::chrono::milliseconds drain) {
  const std::lock_guard lock(changes_);
  phase_.store(Phase::closed);
  const auto end = steady_clock::now() + drain;
  std::vector<size_t> order = registry_->loading_order();
  std::ranges::reverse(order);
  std::ranges::stable_partition(
      order, [&](size_t index) { return registry_->spec(index).kind == ComponentKind::fusion; });
  for (const size_t index : order) {
    registry_->withdraw(index);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    const int64_t n_users = registry_->drain(index, std::max(left, std::chrono::milliseconds(0)));
    if (n_users == 0) continue;
    const std::string& id = registry_->spec(index).id;
    throw Error(Status::deadline_exceeded)
        .subject(id)
        .field("users", n_users)
        .say("component '{}' still has {} users after {} ms", id, n_users, drain.count())
        .hint("free the handles that were taken of it and call again");
  }
}

FleetMetrics Fleet::metrics() const {
  FleetMetrics metrics;
  for (size_t i = 0; i < registry_->size(); ++i) {
    if (const auto held = registry_->acquire(i)) metrics.total_model_bytes += held->bytes();
  }
  metrics.startup_ms = startup_ms_.load();
  const int64_t first = first_ns_.load();
  if (first >= 0) metrics.first_request_ms = static_cast<double>(first) / 1e6;
  const uint64_t n_steady = steady_count_.load();
  if (n_steady > 0) {
    metrics.steady_mean_ms = static_cast<double>(steady_ns_.load()) / 1e6 / static_cast<double>(n_steady);
  }
  metrics.n_requests = n_requests_.load();
  metrics.n_failed = n_failed_.load();
  metrics.uptime_ms = since(opened_) / 1'000'000;
  return metrics;
}

void Fleet::record_test(size_t index, int64_t latency_us, std::string_view message) const {
  registry_->record_test(index, latency_us, message);
}

}  // namespace nanochat
