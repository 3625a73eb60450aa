// Whether a fleet fits, before anything of it is loaded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "tensor/device.h"
#include "warm/registry.h"
#include "warm/warm_config.h"

namespace nanochat {

struct FleetPlan {
  struct Part {
    std::string id;
    ComponentPlan plan;
    uint64_t expected_bytes = 0;  // as the manifest states; 0: nothing
  };
  std::vector<Part> parts;   // in order of loading
  uint64_t model_bytes = 0;  // of all: planned = taken
  uint64_t largest_working_bytes = 0;
  uint64_t host_bytes = 0;
  uint64_t budget_bytes = 0, headroom_bytes = 0;
  uint64_t device_total_bytes = 0, device_available_bytes = 0;  // 0 and the largest number: unknown
};

FleetPlan plan_fleet(const Registry& registry, const Device& device, const WarmConfig& config);

// In this order: cuda_capability_insufficient (107), vram_insufficient_total (104: what the device must have
// in all; the sum against the budget; the sum against what is available), vram_insufficient_headroom (105:
// what would be left is less than the headroom). Errors carry the fields of docs/errors.md. Writes planned
// sizes to the log (info).
void check_fleet_fits(const FleetPlan& plan, const Device& device, const WarmConfig& config);

}  // namespace nanochat
