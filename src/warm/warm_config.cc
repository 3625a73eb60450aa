#include "warm/warm_config.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "warm/object_reader.h"

namespace nanochat {

namespace {

constexpr int32_t kMostLoading = 64;
constexpr const char* kQuantizations = "FP32, FP16, FP8 or INT8";

template <class T>
void take(const std::optional<T>& said, T& value) {
  if (said) value = *said;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return lower;
}

std::string quantization_name(WeightDtype dtype) {
  switch (dtype) {
    case WeightDtype::f32:
      return "FP32";
    case WeightDtype::i8:
      return "INT8";
    case WeightDtype::f8:
      return "FP8";
    default:
      return "FP16";
  }
}

[[noreturn]] void refuse_field(std::string_view field, std::string_view value, std::string_view expected) {
  throw Error(Status::config_invalid)
      .subject(field)
      .field("field", field)
      .field("value", excerpt(value))
      .field("reason", format_text("expected {}", expected))
      .say("{} is {}, expected {}", field, excerpt(value), expected);
}

// "12.0".
bool parse_capability(std::string_view text, DeviceRequirements& requirements) {
  const auto number = [](std::string_view digits, int32_t& value) {
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return code == std::errc() && end == digits.data() + digits.size() && value >= 0 && value < 1000;
  };
  const size_t dot = text.find('.');
  return dot != std::string_view::npos && number(text.substr(0, dot), requirements.capability_major) &&
         number(text.substr(dot + 1), requirements.capability_minor);
}

// --- the environment ---------------------------------------------------------------------------------------

uint64_t whole_number(std::string_view name, std::string_view text, uint64_t largest) {
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value > largest)
    refuse_field(name, format_text("'{}'", text), format_text("a whole number from 0 to {}", largest));
  return value;
}

bool yes_or_no(std::string_view name, std::string_view text) {
  const std::string lower = lower_case(text);
  for (const std::string_view yes : {"true", "1", "yes", "on"}) {
    if (lower == yes) return true;
  }
  for (const std::string_view no : {"false", "0", "no", "off"}) {
    if (lower == no) return false;
  }
  refuse_field(name, format_text("'{}'", text), "true, 1, yes or on, or false, 0, no or off");
}

// --- the manifest's "config" -------------------------------------------------------------------------------

void read_requirements(ObjectReader& reader, WarmSettings& settings) {
  DeviceRequirements requirements;
  const auto profile = reader.text("profile");
  const auto capability = reader.text("min_compute_capability");
  const auto total = reader.unsigned_integer("min_total_memory_bytes");
  if (!profile && !capability && !total) return;
  if (profile) {
    try {
      requirements = device_profile(*profile);
    } catch (const Error&) {
      reader.refuse("profile", "rtx_5090");
    }
  }
  if (capability && !parse_capability(*capability, requirements))
    reader.refuse("min_compute_capability", "two numbers with a dot between, such as \"12.0\"");
  if (total) requirements.total_memory_bytes = *total;
  settings.requirements = requirements;
}

}  // namespace

void WarmSettings::apply(WarmConfig& config) const {
  take(budget_bytes, config.budget_bytes);
  take(headroom_bytes, config.headroom_bytes);
  take(max_load_ms, config.max_load_ms);
  take(weights_path, config.weights_path);
  take(dump_path, config.dump_path);
  take(device_id, config.device_id);
  take(n_loading, config.n_loading);
  take(test_inference, config.test_inference);
  take(lock_memory, config.lock_memory);
  take(quantization, config.quantization);
  take(requirements, config.requirements);
}

DeviceRequirements device_profile(std::string_view name) {
  if (name == "rtx_5090") return {12, 0, uint64_t{32} << 30};
  refuse_field("profile", format_text("'{}'", name), "rtx_5090");
}

WeightDtype parse_quantization(std::string_view text, std::string_view field) {
  const std::string lower = lower_case(text);
  if (lower == "fp32") return WeightDtype::f32;
  if (lower == "fp16") return WeightDtype::bf16;
  if (lower == "fp8") return WeightDtype::f8;
  if (lower == "int8") return WeightDtype::i8;
  refuse_field(field, format_text("'{}'", text), kQuantizations);
}

WarmSettings read_warm_environment(const char* (*look_up)(const char* name)) {
  WarmSettings settings;
  const auto read = [&](const char* name, const auto& keep) {
    if (const char* const text = look_up(name)) keep(std::string_view(name), std::string_view(text));
  };
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  read("WARM_VRAM_BUDGET_BYTES",
       [&](auto name, auto text) { settings.budget_bytes = whole_number(name, text, kMost); });
  read("WARM_VRAM_HEADROOM_BYTES",
       [&](auto name, auto text) { settings.headroom_bytes = whole_number(name, text, kMost); });
  read("WARM_MODEL_WEIGHTS_PATH", [&](auto, auto text) { settings.weights_path = std::string(text); });
  read("WARM_DIAGNOSTIC_DUMP_PATH", [&](auto, auto text) { settings.dump_path = std::string(text); });
  read("WARM_ENABLE_TEST_INFERENCE",
       [&](auto name, auto text) { settings.test_inference = yes_or_no(name, text); });
  read("WARM_MAX_LOAD_TIME_MS",
       [&](auto name, auto text) { settings.max_load_ms = whole_number(name, text, kMost); });
  read("WARM_CUDA_DEVICE_ID", [&](auto name, auto text) {
    settings.device_id = static_cast<int32_t>(whole_number(name, text, std::numeric_limits<int32_t>::max()));
  });
  read("WARM_QUANTIZATION",
       [&](auto name, auto text) { settings.quantization = parse_quantization(text, name); });
  return settings;
}

WarmSettings parse_warm_settings(const Json& object, std::string_view file_name) {
  ObjectReader reader(object, file_name, "config");
  WarmSettings settings;
  settings.budget_bytes = reader.unsigned_integer("vram_budget_bytes");
  settings.headroom_bytes = reader.unsigned_integer("vram_headroom_bytes");
  settings.max_load_ms = reader.unsigned_integer("max_load_time_per_model_ms");
  settings.weights_path = reader.path("model_weights_path");
  settings.dump_path = reader.path("diagnostic_dump_path");
  constexpr int64_t kMostDevices = std::numeric_limits<int32_t>::max();
  if (const auto id = reader.integer("cuda_device_id", 0, kMostDevices))
    settings.device_id = static_cast<int32_t>(*id);
  if (const auto n = reader.integer("parallel_loads", 1, kMostLoading))
    settings.n_loading = static_cast<int32_t>(*n);
  settings.test_inference = reader.flag("enable_test_inference");
  settings.lock_memory = reader.flag("lock_memory");
  if (const auto text = reader.text("quantization")) {
    try {
      settings.quantization = parse_quantization(*text, "quantization");
    } catch (const Error&) {
      reader.refuse("quantization", kQuantizations);
    }
  }
  read_requirements(reader, settings);
  reader.finish();
  return settings;
}

void check_warm_config(const WarmConfig& config) {
  const auto number = [](auto value) { return format_text("{}", value); };
  if (config.budget_bytes == 0) refuse_field("vram_budget_bytes", "0", "1 at least");
  if (config.max_load_ms == 0) refuse_field("max_load_time_per_model_ms", "0", "1 at least");
  if (config.device_id < 0) refuse_field("cuda_device_id", number(config.device_id), "0 at least");
  if (config.n_loading < 1 || config.n_loading > kMostLoading)
    refuse_field("parallel_loads", number(config.n_loading), format_text("1 to {}", kMostLoading));
  const DeviceRequirements& requirements = config.requirements;
  if (requirements.capability_major < 0 || requirements.capability_minor < 0) {
    refuse_field("min_compute_capability",
                 format_text("{}.{}", requirements.capability_major, requirements.capability_minor),
                 "numbers of 0 at least");
  }
  if (!config.weights_path.empty() && !directory_exists(config.weights_path))
    refuse_field("model_weights_path", format_text("'{}'", config.weights_path), "a directory that exists");
}

Json warm_config_json(const WarmConfig& config) {
  Json json;
  json["vram_budget_bytes"] = config.budget_bytes;
  json["vram_headroom_bytes"] = config.headroom_bytes;
  json["model_weights_path"] = config.weights_path;
  json["diagnostic_dump_path"] = config.dump_path;
  json["cuda_device_id"] = config.device_id;
  json["enable_test_inference"] = config.test_inference;
  json["max_load_time_per_model_ms"] = config.max_load_ms;
  json["quantization"] = quantization_name(config.quantization);
  json["min_compute_capability"] =
      format_text("{}.{}", config.requirements.capability_major, config.requirements.capability_minor);
  json["min_total_memory_bytes"] = config.requirements.total_memory_bytes;
  json["lock_memory"] = config.lock_memory;
  json["parallel_loads"] = config.n_loading;
  return json;
}

}  // namespace nanochat
