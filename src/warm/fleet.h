// A fleet of models: opened, warmed, asked, exchanged one by one, shut down.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "encoder/time_point.h"
#include "infer/embeddings.h"
#include "tensor/device.h"
#include "warm/loader.h"
#include "warm/manifest.h"
#include "warm/preflight.h"
#include "warm/registry.h"

namespace nanochat {

struct FleetMetrics {
  uint64_t total_model_bytes = 0;
  int64_t startup_ms = -1;                // of warm(); -1: not warm
  double first_request_ms = -1.0;         // -1: there was none
  double steady_mean_ms = -1.0;           // of the requests after the hundredth; -1: none
  uint64_t n_requests = 0, n_failed = 0;  // embed() and fuse()
  int64_t uptime_ms = 0;                  // since open()
};

// Thread-safe.
class Fleet : public std::enable_shared_from_this<Fleet> {
 public:
  // Reads the manifest and the headers of all its models; loads nothing. Settings win over the manifest's.
  // Throws what read_manifest(), check_warm_config() and Component::plan() throw; config_invalid for a
  // device_id that is not the device's.
  static std::shared_ptr<Fleet> open(std::shared_ptr<Device> device, const std::string& manifest_path,
                                     const WarmSettings& settings);

  // check_fleet_fits(), then load_fleet(). Throws what they throw, and invalid_state for a second call.
  void warm(const LoadWatch& watch);
  bool is_warm() const { return phase_.load() == Phase::warm; }
  enum class Phase : int32_t { open, loading, warm, failed, closed };
  Phase phase() const { return phase_.load(); }

  // A warm component. Throws model_not_registered, invalid_state (not warm, or shut down). What is returned
  // keeps the component where it is.
  std::shared_ptr<const Component> component(std::string_view id) const;

  // Component::embed_texts(), counted.
  Embeddings embed(std::string_view id, std::span<const std::string_view> texts, const Watch& watch) const;

  // Embeds each moment by all parts of a fusion and fuses the vectors. A text goes to every part that takes
  // texts, its time to the parts of E2 and E3, its position to that of E4. Throws invalid_argument naming a
  // list of another length than `texts`, or times that are missing though a part needs them.
  struct FusionRequest {
    std::string_view fusion;  // the component's id; "": the only one
    std::span<const std::string_view> texts;
    std::span<const TimePoint> times;
    std::span<const TimePoint> positions;  // empty: 0, 1, 2 ...
  };
  Embeddings fuse(const FusionRequest& request, const Watch& watch) const;

  // Loads what lies at `path` (its manifest entry's kind, dimension and test stay; "": its own path again;
  // reference: a new reference file, "": the entry's), validates it, puts it in the component's place and
  // waits until the last user of the old one has left or `drain` is over (deadline_exceeded: the new one
  // serves already). The budget may be exceeded by this one model meanwhile. On failure nothing has changed.
  struct Replacement {
    std::string_view id;
    std::string_view path = {}, reference = {}, checksum = {};
    std::chrono::milliseconds drain{30000};
  };
  void replace(const Replacement& replacement, const Watch& watch);

  // Compares the weights in memory with what they were at the first call. Throws model_validation_failed
  // naming the component.
  void verify_resident(const Watch& watch) const;

  // No new requests; those that run are finished; then fusions are released, then the other components,
  // smallest last. deadline_exceeded naming a component and its users if they do not leave in time: call
  // again. Later calls do nothing.
  void shut_down(std::chrono::milliseconds drain);

  const Registry& registry() const { return *registry_; }
  Device& device() const { return *device_; }
  const WarmConfig& config() const { return config_; }
  const Manifest& manifest() const { return manifest_; }
  FleetPlan plan() const;
  FleetMetrics metrics() const;
  void record_test(size_t index, int64_t latency_us, std::string_view message) const;

 private:
  struct ResidentHash {  // of the weights that had this checksum on disk and lie there
    Hash128 checksum;
    const void* address = nullptr;
    Hash128 resident;
  };
  Fleet() = default;
  void plan_components(std::vector<ComponentSpec> components);
  std::shared_ptr<const Component> require_fusion(std::string_view id) const;
  template <class F>
  Embeddings counted(const F& request) const;

  std::shared_ptr<Device> device_;
  Manifest manifest_;
  WarmConfig config_;
  std::shared_ptr<Registry> registry_;
  std::atomic<Phase> phase_{Phase::open};
  mutable std::mutex changes_;  // one of warm(), replace(), shut_down() at a time
  std::chrono::steady_clock::time_point opened_ = std::chrono::steady_clock::now();
  std::atomic<int64_t> startup_ms_{-1};
  mutable std::atomic<uint64_t> n_requests_{0}, n_failed_{0}, steady_count_{0};
  mutable std::atomic<int64_t> first_ns_{-1}, steady_ns_{0};
  mutable std::mutex resident_mutex_;  // guards resident_hashes_
  mutable std::vector<ResidentHash> resident_hashes_;
};

}  // namespace nanochat
