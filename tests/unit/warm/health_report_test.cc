// A health report as JSON and as a line, made by hand: what a fleet says is in health_test.cc.
#include <string>

#include <gtest/gtest.h>

#include "base/json.h"
#include "warm/health.h"

namespace nanochat {
namespace {

ComponentHealth warm_component(const std::string& id, ComponentKind kind) {
  ComponentHealth component;
  component.id = id;
  component.kind = kind;
  component.entry.state = WarmState::warm;
  component.entry.progress_percent = 100;
  component.entry.last_latency_us = 4823;
  component.entry.test_passed = true;
  component.address = 0x7f8b00000000;
  component.is_resident = true;
  component.allocation_bytes = component.expected_bytes = 734003200;
  component.dimension = 1024;
  component.checksum = std::string(32, 'a');
  return component;
}

HealthReport healthy_report() {
  HealthReport report;
  report.health = Health::healthy;
  report.timestamp = "2026-01-03T12:00:00.250Z";
  report.device.hardware = "NVIDIA GeForce RTX 5090";
  report.device.capability_major = 12;
  report.device.driver_version = "565.57";
  report.device.cuda_version = "13.1";
  report.device_name = "cuda:0";
  report.device_total_bytes = 34359738368;
  report.device_available_bytes = 30359738368;
  report.device_used_bytes = 4000000000;
  report.budget_bytes = uint64_t{24} << 30;
  report.components = {warm_component("E1_Semantic", ComponentKind::encoder),
                       warm_component("FuseMoE", ComponentKind::fusion)};
  report.metrics.total_model_bytes = 3843995729;
  report.metrics.startup_ms = 12543;
  report.metrics.first_request_ms = 8.25;
  report.metrics.steady_mean_ms = 7.5;
  report.loading_progress = 1;
  return report;
}

TEST(HealthJson, HasTheFieldsOfTheSpecificationUnderTheirNames) {
  const Json json = health_json(healthy_report());
  EXPECT_EQ(json["schema"], "nanochat.health.v1");
  EXPECT_EQ(json["status"], "healthy");
  EXPECT_EQ(json["timestamp"], "2026-01-03T12:00:00.250Z");
  const Json& gpu = json["gpu"];
  EXPECT_EQ(gpu["name"], "NVIDIA GeForce RTX 5090");
  EXPECT_EQ(gpu["vram_total_bytes"], 34359738368);
  EXPECT_EQ(gpu["vram_used_bytes"], 4000000000);
  EXPECT_EQ(gpu["vram_free_bytes"], 30359738368);
  EXPECT_EQ(gpu["compute_capability"], "12.0");
  EXPECT_EQ(gpu["driver_version"], "565.57");
  EXPECT_EQ(gpu["cuda_version"], "13.1");
  ASSERT_EQ(json["models"].size(), 1u);
  const Json& model = json["models"][0];
  EXPECT_EQ(model["model_id"], "E1_Semantic");
  EXPECT_EQ(model["status"], "warm");
  EXPECT_EQ(model["vram_address"], "0x00007f8b00000000");
  EXPECT_EQ(model["allocation_bytes"], 734003200);
  EXPECT_EQ(model["last_inference_latency_us"], 4823);
  EXPECT_EQ(model["test_inference_passed"], true);
  EXPECT_FALSE(model.contains("error_message"));
  const Json& fusion = json["fusemoe"];
  EXPECT_EQ(fusion["status"], "warm");
  EXPECT_EQ(fusion["vram_address"], "0x00007f8b00000000");
  EXPECT_EQ(fusion["allocation_bytes"], 734003200);
  EXPECT_EQ(fusion["gating_network_loaded"], true);
  EXPECT_EQ(fusion["output_projection_loaded"], true);
  EXPECT_EQ(fusion["test_fusion_passed"], true);
  const Json& metrics = json["metrics"];
  EXPECT_EQ(metrics["total_model_vram_bytes"], 3843995729);
  EXPECT_EQ(metrics["startup_duration_ms"], 12543);
  EXPECT_EQ(metrics["first_inference_latency_ms"], 8.25);
  EXPECT_EQ(metrics["steady_state_latency_mean_ms"], 7.5);
}

TEST(HealthJson, IsReadBackAsWritten) {
  const Json json = health_json(healthy_report());
  EXPECT_EQ(parse_json(write_json(json), "report"), json);
  EXPECT_EQ(parse_json(write_json(json, 2), "report"), json);
}

TEST(HealthJson, SaysOfAComputedEmbedderThatItHasNoAddress) {
  HealthReport report = healthy_report();
  ComponentHealth& computed = report.components[0];
  computed.kind = ComponentKind::temporal_recent;
  computed.address = computed.allocation_bytes = 0;
  computed.checksum = "";
  const Json model = health_json(report)["models"][0];
  EXPECT_EQ(model["computed"], true);
  EXPECT_EQ(model["kind"], "temporal_recent");
  EXPECT_EQ(model["vram_address"], "0x0000000000000000");
  EXPECT_EQ(model["allocation_bytes"], 0);
}

TEST(HealthJson, NamesWhatIsWarmButFailsAndWhatDidNotLoad) {
  HealthReport report = healthy_report();
  report.components[0].problem = "Model validation failed for E1_Semantic: off";
  report.components[0].entry.test_passed = false;
  report.components[0].entry.last_latency_us = -1;
  report.components[1].entry.state = WarmState::failed;
  report.components[1].entry.error = Status::model_file_missing;
  report.components[1].entry.message = "Model file missing: FuseMoE not found at /x";
  const Json json = health_json(report);
  EXPECT_EQ(json["models"][0]["status"], "warm_but_failing");
  EXPECT_EQ(json["models"][0]["error_message"], "Model validation failed for E1_Semantic: off");
  EXPECT_EQ(json["models"][0]["test_inference_passed"], false);
  EXPECT_FALSE(json["models"][0].contains("last_inference_latency_us"));
  EXPECT_EQ(json["fusemoe"]["status"], "failed");
  EXPECT_EQ(json["fusemoe"]["error_code"], 101);
  EXPECT_EQ(json["fusemoe"]["gating_network_loaded"], false);
}

TEST(HealthJson, HasNoFusionWhereThereIsNoneAndListsWhatComesAfterTheFirst) {
  HealthReport report = healthy_report();
  report.components.pop_back();
  EXPECT_TRUE(health_json(report)["fusemoe"].is_null());
  EXPECT_TRUE(health_json(report)["fusions"].empty());
  for (const char* const id : {"F1", "F2", "F3"}) {
    report.components.push_back(warm_component(id, ComponentKind::fusion));
  }
  const Json json = health_json(report);
  EXPECT_EQ(json["fusemoe"]["model_id"], "F1");
  ASSERT_EQ(json["fusions"].size(), 2u);
  EXPECT_EQ(json["fusions"][1]["model_id"], "F3");
}

TEST(HealthJson, SaysHowFarLoadingIs) {
  HealthReport report = healthy_report();
  report.health = Health::loading;
  report.components[1].entry.state = WarmState::loading;
  report.metrics = {};
  report.loading_progress = 0.5;
  report.estimated_seconds_remaining = 12.5;
  const Json json = health_json(report);
  EXPECT_EQ(json["status"], "loading");
  EXPECT_EQ(json["loading_progress"], 50.0);
  EXPECT_EQ(json["models_loaded"], 1);
  EXPECT_EQ(json["models_total"], 2);
  EXPECT_EQ(json["estimated_time_remaining"], 12.5);
  EXPECT_TRUE(json["metrics"]["startup_duration_ms"].is_null());
  EXPECT_TRUE(json["metrics"]["first_inference_latency_ms"].is_null());
}

TEST(HealthJson, OfTheHostHasNoCapabilityAndNoTemperature) {
  HealthReport report = healthy_report();
  report.device = {};
  report.device.hardware = "AMD EPYC 9R14";
  const Json gpu = health_json(report)["gpu"];
  EXPECT_EQ(gpu["compute_capability"], "");
  EXPECT_FALSE(gpu.contains("temperature_celsius"));
}

TEST(HealthLine, SaysItInOneLine) {
  HealthReport report = healthy_report();
  EXPECT_EQ(health_line(report), "WARM: 2/2 models | 3.58GB/24.00GB VRAM | OK");
  report.components[0].problem = "off";
  report.health = Health::degraded;
  EXPECT_EQ(health_line(report), "WARM: 2/2 models | 3.58GB/24.00GB VRAM | DEGRADED: 1");
  report.health = Health::unhealthy;
  report.components[1].entry.state = WarmState::failed;
  EXPECT_EQ(health_line(report), "WARM: 1/2 models | 3.58GB/24.00GB VRAM | ERRORS: 1");
  report.health = Health::loading;
  EXPECT_EQ(health_line(report), "WARM: 1/2 models | 3.58GB/24.00GB VRAM | LOADING: 1/2");
  EXPECT_EQ(health_line(HealthReport()), "WARM: 0/0 models | 0B/0B VRAM | NOT INITIALIZED");
}

TEST(HealthName, IsTheWordOfTheReport) {
  EXPECT_EQ(health_name(Health::not_initialized), "not_initialized");
  EXPECT_EQ(health_name(Health::unhealthy), "unhealthy");
}

}  // namespace
}  // namespace nanochat
