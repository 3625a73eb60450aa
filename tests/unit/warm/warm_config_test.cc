// The settings of warm loading: defaults, environment, manifest, what is refused.
#include "warm/warm_config.h"

#include <map>

#include <gtest/gtest.h>

#include "base/error.h"
#include "unit/warm/small_fleet.h"

namespace nanochat::testing {
namespace {

std::map<std::string, std::string>& variables() {
  static std::map<std::string, std::string> all;
  return all;
}

const char* look_up(const char* name) {
  const auto found = variables().find(name);
  return found == variables().end() ? nullptr : found->second.c_str();
}

WarmSettings environment(std::map<std::string, std::string> of) {
  variables() = std::move(of);
  return read_warm_environment(look_up);
}

WarmSettings settings_of(std::string_view text) {
  return parse_warm_settings(parse_json(text, "fleet.json"), "fleet.json");
}

TEST(WarmConfig, HasTheDefaultsOfTheSpecification) {
  const WarmConfig config;
  EXPECT_EQ(config.budget_bytes, 25'769'803'776U);
  EXPECT_EQ(config.headroom_bytes, 8'589'934'592U);
  EXPECT_EQ(config.dump_path, "/var/log/context-graph");
  EXPECT_EQ(config.device_id, 0);
  EXPECT_TRUE(config.test_inference);
  EXPECT_EQ(config.max_load_ms, 30'000U);
  EXPECT_EQ(config.quantization, WeightDtype::bf16);
  EXPECT_EQ(config.requirements.capability_major, 0);
  check_warm_config(config);
}

TEST(WarmConfig, TakesWhatIsSaidAndLeavesTheRest) {
  WarmConfig config;
  WarmSettings settings;
  settings.budget_bytes = 7;
  settings.apply(config);
  EXPECT_EQ(config.budget_bytes, 7U);
  EXPECT_EQ(config.headroom_bytes, WarmConfig().headroom_bytes);
  settings.budget_bytes.reset();
  settings.headroom_bytes = 0;
  settings.test_inference = false;
  settings.apply(config);
  EXPECT_EQ(config.budget_bytes, 7U);
  EXPECT_EQ(config.headroom_bytes, 0U);
  EXPECT_FALSE(config.test_inference);
}

TEST(WarmConfig, ReadsTheEnvironment) {
  const WarmSettings nothing = environment({});
  EXPECT_FALSE(nothing.budget_bytes || nothing.weights_path || nothing.test_inference);
  const WarmSettings all = environment({{"WARM_VRAM_BUDGET_BYTES", "123"},
                                        {"WARM_VRAM_HEADROOM_BYTES", "0"},
                                        {"WARM_MODEL_WEIGHTS_PATH", "/models"},
                                        {"WARM_DIAGNOSTIC_DUMP_PATH", ""},
                                        {"WARM_ENABLE_TEST_INFERENCE", "Off"},
                                        {"WARM_MAX_LOAD_TIME_MS", "5000"},
                                        {"WARM_CUDA_DEVICE_ID", "3"},
                                        {"WARM_QUANTIZATION", "int8"}});
  EXPECT_EQ(all.budget_bytes, 123U);
  EXPECT_EQ(all.headroom_bytes, 0U);
  EXPECT_EQ(all.weights_path, "/models");
  EXPECT_EQ(all.dump_path, "");
  EXPECT_EQ(all.test_inference, false);
  EXPECT_EQ(all.max_load_ms, 5000U);
  EXPECT_EQ(all.device_id, 3);
  EXPECT_EQ(all.quantization, WeightDtype::i8);
  for (const char* yes : {"true", "1", "yes", "on", "TRUE"})
    EXPECT_EQ(environment({{"WARM_ENABLE_TEST_INFERENCE", yes}}).test_inference, true) << yes;
}

TEST(WarmConfig, RefusesWhatDoesNotParseInTheEnvironmentByName) {
  for (const auto& [name, text] :
       {std::pair("WARM_VRAM_BUDGET_BYTES", "24GB"), std::pair("WARM_VRAM_BUDGET_BYTES", ""),
        std::pair("WARM_VRAM_HEADROOM_BYTES", "-1"),
        std::pair("WARM_VRAM_HEADROOM_BYTES", "99999999999999999999"),
        std::pair("WARM_ENABLE_TEST_INFERENCE", "maybe"), std::pair("WARM_MAX_LOAD_TIME_MS", "1.5"),
        std::pair("WARM_CUDA_DEVICE_ID", "4294967296"), std::pair("WARM_QUANTIZATION", "fp4")}) {
    const Error error = error_of([&] { environment({{name, text}}); });
    EXPECT_EQ(error.status(), Status::config_invalid);
    EXPECT_EQ(field_of(error, "field"), name);
    EXPECT_NE(error.message().find("'" + std::string(text) + "'"), std::string::npos) << error.message();
  }
}

TEST(WarmConfig, ReadsEveryKeyOfAManifest) {
  const WarmSettings all = settings_of(R"({"vram_budget_bytes": 1, "vram_headroom_bytes": 2,
      "model_weights_path": "weights", "diagnostic_dump_path": "dumps", "cuda_device_id": 4,
      "enable_test_inference": false, "max_load_time_per_model_ms": 5, "quantization": "FP8",
      "min_compute_capability": "8.6", "min_total_memory_bytes": 7, "lock_memory": false, "parallel_loads": 8})");
  EXPECT_EQ(all.budget_bytes, 1U);
  EXPECT_EQ(all.headroom_bytes, 2U);
  EXPECT_EQ(all.weights_path, "weights");
  EXPECT_EQ(all.dump_path, "dumps");
  EXPECT_EQ(all.device_id, 4);
  EXPECT_EQ(all.test_inference, false);
  EXPECT_EQ(all.max_load_ms, 5U);
  EXPECT_EQ(all.quantization, WeightDtype::f8);
  EXPECT_EQ(all.requirements->capability_major, 8);
  EXPECT_EQ(all.requirements->capability_minor, 6);
  EXPECT_EQ(all.requirements->total_memory_bytes, 7U);
  EXPECT_EQ(all.lock_memory, false);
  EXPECT_EQ(all.n_loading, 8);
}

TEST(WarmConfig, KnowsTheProfileOfACard) {
  const WarmSettings settings = settings_of(R"({"profile": "rtx_5090", "min_total_memory_bytes": 5})");
  EXPECT_EQ(settings.requirements->capability_major, 12);
  EXPECT_EQ(settings.requirements->total_memory_bytes, 5U);  // what is said beside it wins
  EXPECT_EQ(device_profile("rtx_5090").total_memory_bytes, uint64_t{32} << 30);
  EXPECT_EQ(error_of([] { device_profile("rtx_4090"); }).status(), Status::config_invalid);
}

TEST(WarmConfig, RefusesWrongTypesAndUnknownKeysOfAManifest) {
  for (const char* text :
       {R"({"vram_budget_bytes": "24"})", R"({"vram_budget_bytes": -1})", R"({"vram_headroom_bytes": 1.5})",
        R"({"model_weights_path": 3})", R"({"enable_test_inference": 1})", R"({"quantization": "FP4"})",
        R"({"quantization": null})", R"({"cuda_device_id": -1})", R"({"cuda_device_id": 4294967296})",
        R"({"parallel_loads": 0})", R"({"parallel_loads": 65})", R"({"profile": "h200"})",
        R"({"min_compute_capability": "12"})", R"({"min_compute_capability": 12.0})",
        R"({"min_compute_capability": "a.b"})", R"({"max_load_time_per_model_ms": []})"}) {
    const Error error = error_of([&] { settings_of(text); });
    EXPECT_EQ(error.status(), Status::config_invalid) << text;
    EXPECT_TRUE(error.message().starts_with("fleet.json: config: ")) << error.message();
  }
  const Error unknown = error_of([] { settings_of(R"({"vram_budget": 1})"); });
  EXPECT_EQ(unknown.message(), "fleet.json: config: unknown key 'vram_budget'");
}

TEST(WarmConfig, RefusesValuesThatMakeNoSense) {
  const auto reason = [](const auto& change) {
    WarmConfig config;
    change(config);
    const Error error = error_of([&] { check_warm_config(config); });
    EXPECT_EQ(error.status(), Status::config_invalid);
    return field_of(error, "field");
  };
  EXPECT_EQ(reason([](WarmConfig& config) { config.budget_bytes = 0; }), "vram_budget_bytes");
  EXPECT_EQ(reason([](WarmConfig& config) { config.weights_path = "/no/such/folder"; }),
            "model_weights_path");
  EXPECT_EQ(reason([](WarmConfig& config) { config.max_load_ms = 0; }), "max_load_time_per_model_ms");
  EXPECT_EQ(reason([](WarmConfig& config) { config.n_loading = 0; }), "parallel_loads");
  EXPECT_EQ(reason([](WarmConfig& config) { config.device_id = -1; }), "cuda_device_id");
  EXPECT_EQ(reason([](WarmConfig& config) { config.requirements.capability_major = -1; }),
            "min_compute_capability");
}

TEST(WarmConfig, IsWrittenSoThatItReadsBack) {
  WarmConfig config;
  config.requirements = device_profile("rtx_5090");
  config.quantization = WeightDtype::i8;
  config.n_loading = 5;
  config.weights_path = "w";
  const Json json = warm_config_json(config);
  EXPECT_EQ(json.items().front().key, "vram_budget_bytes");
  WarmConfig again;
  parse_warm_settings(parse_json(write_json(json), "again"), "again").apply(again);
  EXPECT_EQ(write_json(warm_config_json(again)), write_json(json));
}

}  // namespace
}  // namespace nanochat::testing
