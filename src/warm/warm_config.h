// How a fleet is loaded: the eight fields of warm loading, and what is ours besides.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "model/model.h"

namespace nanochat {

// Of the device. `capability` 0.0 asks for nothing; a device without one (the host) meets only that.
struct DeviceRequirements {
  int32_t capability_major = 0, capability_minor = 0;
  uint64_t total_memory_bytes = 0;
};

struct WarmConfig {
  uint64_t budget_bytes = uint64_t{24} << 30;        // of all weights together
  uint64_t headroom_bytes = uint64_t{8} << 30;       // of the device, to be free beside them
  std::string weights_path;                          // what paths in the manifest start from; "": its folder
  std::string dump_path = "/var/log/context-graph";  // folder for dumps of failed starts; "": none
  int32_t device_id = 0;                             // the number of the CUDA device; 0 on the host
  bool test_inference = true;
  uint64_t max_load_ms = 30000;  // of one component
  // Of components whose manifest entry says nothing. FP16 of the specification is bf16: 2 bytes as well.
  WeightDtype quantization = WeightDtype::bf16;

  DeviceRequirements requirements;
  bool lock_memory = true;                  // pin weights in host memory where the system's limits allow
  int32_t n_loading = 2;                    // components that are loaded at once
  WeightChecks checks = WeightChecks::all;  // for measuring what they cost; nothing that a user says
};

// The same where nothing is said: what a caller's options, the environment and a manifest's "config" consist
// of. apply() lets what is said win.
struct WarmSettings {
  std::optional<uint64_t> budget_bytes, headroom_bytes, max_load_ms;
  std::optional<std::string> weights_path, dump_path;
  std::optional<int32_t> device_id, n_loading;
  std::optional<bool> test_inference, lock_memory;
  std::optional<WeightDtype> quantization;
  std::optional<DeviceRequirements> requirements;

  void apply(WarmConfig& config) const;
};

// The profile of a card: "rtx_5090" (capability 12.0, 32 GiB). Throws config_invalid naming it.
DeviceRequirements device_profile(std::string_view name);

// "FP32", "FP16", "FP8", "INT8", any case. Throws config_invalid naming `field` and the text.
WeightDtype parse_quantization(std::string_view text, std::string_view field);

// WARM_VRAM_BUDGET_BYTES, WARM_VRAM_HEADROOM_BYTES, WARM_MODEL_WEIGHTS_PATH, WARM_DIAGNOSTIC_DUMP_PATH,
// WARM_ENABLE_TEST_INFERENCE (true/1/yes/on, false/0/no/off), WARM_MAX_LOAD_TIME_MS, WARM_CUDA_DEVICE_ID,
// WARM_QUANTIZATION. `look_up` is getenv. Throws config_invalid naming the variable and its text.
WarmSettings read_warm_environment(const char* (*look_up)(const char* name));

// The object "config" of a manifest. Unknown keys are refused by name.
WarmSettings parse_warm_settings(const Json& object, std::string_view file_name);

// Throws config_invalid: field, value, reason.
void check_warm_config(const WarmConfig& config);

// The eight fields under the names of docs/warm.md, then the others.
Json warm_config_json(const WarmConfig& config);

}  // namespace nanochat
