// The state of a fleet at one moment, as a report that does not change any more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/json.h"
#include "tensor/device.h"
#include "warm/fleet.h"
#include "warm/registry.h"

namespace nanochat {

// not_initialized: opened, or shut down. unhealthy: the start failed. degraded: all are warm, but one fails
// its test inference, or its memory is not the device's any more.
enum class Health : int32_t { not_initialized = 0, loading = 1, healthy = 2, degraded = 3, unhealthy = 4 };
std::string_view health_name(Health health);  // "not_initialized", ...

struct ComponentHealth {
  std::string id;
  ComponentKind kind = ComponentKind::encoder;
  EntryStatus entry;
  uint64_t address = 0;      // on the device; 0 without weights
  bool is_resident = false;  // the device says that the address is its own
  uint64_t allocation_bytes = 0, locked_bytes = 0, expected_bytes = 0;
  int64_t dimension = 0;
  std::string checksum;
  std::string problem;  // of a warm component: why it does not serve as it should; ""
};

struct HealthReport {
  Health health = Health::not_initialized;
  bool is_full = false;   // test inferences were run for it: the fleet was warm
  std::string timestamp;  // ISO 8601, UTC, milliseconds
  DeviceFacts device;
  std::string device_name, isa;  // "cuda:0", "sm_90"
  uint64_t device_total_bytes = 0, device_used_bytes = 0, device_available_bytes = 0;
  uint64_t budget_bytes = 0;
  std::vector<ComponentHealth> components;  // as the manifest has them
  FleetMetrics metrics;
  double loading_progress = 0.0;            // 0..1, by bytes
  double estimated_seconds_remaining = -1;  // -1: not loading, or no bytes yet
};

// Below a millisecond, without locks or inference. Does not fail because a part of the device's facts cannot
// be had.
HealthReport check_quick(const Fleet& fleet);

// check_quick() after a test inference of every warm component, a fusion among them. What fails is recorded
// and makes the fleet degraded; it does not throw. Throws cancelled.
HealthReport check_full(const Fleet& fleet, const Watch& watch);

// The JSON of docs/warm.md: "status", "timestamp", "gpu", "models", "fusemoe", "metrics" and further keys.
Json health_json(const HealthReport& report);

// "WARM: 13/13 models | 3.58GB/24.00GB VRAM | OK"
std::string health_line(const HealthReport& report);

}  // namespace nanochat
