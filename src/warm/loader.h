// Loads a fleet as one transaction: all components become warm, or nothing of them is left.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/cancel.h"
#include "base/log.h"
#include "tensor/device.h"
#include "warm/registry.h"
#include "warm/warm_config.h"

namespace nanochat {

// Where one component stands; the calling thread reports it about every 50 ms and at every change of state.
struct LoadProgress {
  std::string_view id;
  WarmState state;
  uint64_t bytes_loaded, total_bytes;  // of this component
  uint64_t fleet_loaded, fleet_total;  // of all
};

struct LoadWatch {
  const CancelToken* cancel = nullptr;
  std::function<bool(const LoadProgress&)> on_progress;  // false: stop
  // After the first failure, when nothing runs any more and nothing has been released yet.
  std::function<void(const Error&)> before_release;
};

// Up to config.n_loading components at once, each on a thread of its own, in Registry::loading_order(); each
// start_loading -> load -> mark_validating -> validate (unless test_inference is off) -> mark_warm. A
// component that takes longer than max_load_ms is stopped: load_timeout. The first failure stops all others;
// it is marked, everything is withdrawn and drained, and it is thrown. Cancelled within 100 ms or one layer.
void load_fleet(Registry& registry, const std::shared_ptr<Device>& device, const WarmConfig& config,
                const LoadWatch& watch);

// One component, beside the one that it will replace: loaded and validated.
std::unique_ptr<const Component> load_component(const std::shared_ptr<Device>& device,
                                                const ComponentSpec& spec, const WarmConfig& config,
                                                const Watch& watch);

}  // namespace nanochat
