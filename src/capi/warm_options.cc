#include "capi/warm_options.h"

#include <array>
#include <cstdlib>

#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

namespace nanochat {

namespace {

constexpr size_t kWarmOptionsSize = 120;
constexpr int32_t kMostLoads = 256;
constexpr int32_t kMostCapability = 999;

constexpr std::array<WeightDtype, 5> kQuantizations = {WeightDtype::as_stored, WeightDtype::f32,
                                                       WeightDtype::bf16, WeightDtype::f8, WeightDtype::i8};

std::optional<bool> switch_of(int32_t value) {
  if (value == NANOCHAT_SWITCH_DEFAULT) return std::nullopt;
  return value == NANOCHAT_SWITCH_ON;
}

std::optional<uint64_t> unless_zero(uint64_t value) {
  return value == 0 ? std::nullopt : std::optional<uint64_t>(value);
}

std::optional<std::string> text_of(const char* text) {
  return text == nullptr ? std::nullopt : std::optional<std::string>(text);
}

DeviceRequirements requirements_of(const nanochat_warm_options& known) {
  DeviceRequirements required;
  const int32_t capability = known.min_capability == NANOCHAT_WARM_NO_MINIMUM ? 0 : known.min_capability;
  required.capability_major = capability / 10;
  required.capability_minor = capability % 10;
  required.total_memory_bytes = known.min_total_memory_bytes;
  return required;
}

// -1 stands for what 0 would be if it did not mean "nothing said".
void require_from_minus_one(int32_t value, int32_t last, const char* name) {
  if (value < -1 || value > last)
    throw Error(Status::invalid_argument).subject(name).say("{} is {}, expected -1 to {}", name, value, last);
}

[[noreturn]] void refuse_variable(const char* name, const char* expected) {
  const char* const text = std::getenv(name);
  throw Error(Status::config_invalid)
      .subject(name)
      .field("field", name)
      .field("value", text == nullptr ? "" : text)
      .say("{} is '{}', expected {}", name, text == nullptr ? "" : text, expected);
}

int32_t quantization_of(WeightDtype dtype) {
  for (size_t i = 1; i < kQuantizations.size(); ++i) {
    if (kQuantizations[i] == dtype) return static_cast<int32_t>(i);
  }
  return NANOCHAT_WARM_QUANTIZATION_DEFAULT;
}

void set_switch(const std::optional<bool>& given, int32_t& option) {
  if (given) option = *given ? NANOCHAT_SWITCH_ON : NANOCHAT_SWITCH_OFF;
}

// Texts stay where the environment has them.
void set_text(const std::optional<std::string>& given, const char* name, const char*& option) {
  if (given) option = std::getenv(name);
}

void set_from(const WarmSettings& said, nanochat_warm_options& options) {
  if (said.budget_bytes) {
    if (*said.budget_bytes == 0) refuse_variable("WARM_VRAM_BUDGET_BYTES", "at least 1");
    options.vram_budget_bytes = *said.budget_bytes;
  }
  if (said.headroom_bytes) {
    options.vram_headroom_bytes =
        *said.headroom_bytes == 0 ? NANOCHAT_WARM_NO_HEADROOM : *said.headroom_bytes;
  }
  if (said.max_load_ms) {
    if (*said.max_load_ms == 0) refuse_variable("WARM_MAX_LOAD_TIME_MS", "at least 1");
    options.max_load_time_per_model_ms = *said.max_load_ms;
  }
  if (said.device_id) options.device_id = *said.device_id == 0 ? -1 : *said.device_id;
  if (said.quantization) options.quantization = quantization_of(*said.quantization);
  set_switch(said.test_inference, options.test_inference);
  set_text(said.weights_path, "WARM_MODEL_WEIGHTS_PATH", options.model_weights_path);
  set_text(said.dump_path, "WARM_DIAGNOSTIC_DUMP_PATH", options.diagnostic_dump_path);
}

}  // namespace

nanochat_warm_options import_warm_options(const nanochat_warm_options* options) {
  const auto known = import_options(options, "nanochat_warm_options", kWarmOptionsSize);
  require_enum(known.test_inference, NANOCHAT_SWITCH_OFF, "nanochat_warm_options.test_inference");
  require_enum(known.lock_memory, NANOCHAT_SWITCH_OFF, "nanochat_warm_options.lock_memory");
  require_enum(known.quantization, NANOCHAT_WARM_QUANTIZATION_INT8, "nanochat_warm_options.quantization");
  require_enum(known.parallel_loads, kMostLoads, "nanochat_warm_options.parallel_loads");
  require_from_minus_one(known.device_id, INT32_MAX - 1, "nanochat_warm_options.device_id");
  require_from_minus_one(known.min_capability, kMostCapability, "nanochat_warm_options.min_capability");
  return known;
}

WarmSettings warm_settings(const nanochat_warm_options& known) {
  WarmSettings said;
  said.budget_bytes = unless_zero(known.vram_budget_bytes);
  said.headroom_bytes = unless_zero(known.vram_headroom_bytes);
  if (known.vram_headroom_bytes == NANOCHAT_WARM_NO_HEADROOM) said.headroom_bytes = 0;
  said.max_load_ms = unless_zero(known.max_load_time_per_model_ms);
  said.weights_path = text_of(known.model_weights_path);
  said.dump_path = text_of(known.diagnostic_dump_path);
  if (known.device_id != 0) said.device_id = known.device_id == -1 ? 0 : known.device_id;
  if (known.parallel_loads != 0) said.n_loading = known.parallel_loads;
  said.test_inference = switch_of(known.test_inference);
  said.lock_memory = switch_of(known.lock_memory);
  if (known.quantization != NANOCHAT_WARM_QUANTIZATION_DEFAULT)
    said.quantization = kQuantizations[static_cast<size_t>(known.quantization)];
  if (known.min_capability != 0 || known.min_total_memory_bytes != 0)
    said.requirements = requirements_of(known);
  return said;
}

LoadWatch load_watch(const nanochat_warm_options& known) {
  LoadWatch watch;
  if (known.cancel != nullptr) watch.cancel = &known.cancel->token;
  if (known.progress != nullptr) {
    watch.on_progress = [tell = known.progress,
                         user_data = known.progress_user_data](const LoadProgress& at) {
      const std::string id(at.id);
      const nanochat_warm_progress progress{sizeof(nanochat_warm_progress),
                                            id.c_str(),
                                            at.bytes_loaded,
                                            at.total_bytes,
                                            at.fleet_loaded,
                                            at.fleet_total,
                                            static_cast<int32_t>(at.state),
                                            0};
      return tell(&progress, user_data) == 0;
    };
  }
  return watch;
}

}  // namespace nanochat

extern "C" {

void nanochat_warm_options_init(nanochat_warm_options* options, size_t size) { init_options(options, size); }

nanochat_status nanochat_warm_options_from_env(nanochat_warm_options* options, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(options, "options");
    nanochat_warm_options known = import_options(options, "nanochat_warm_options", kWarmOptionsSize);
    set_from(read_warm_environment([](const char* name) -> const char* { return std::getenv(name); }), known);
    std::memcpy(options, &known, std::min(known.struct_size, sizeof known));
  });
}

}  // extern "C"
