// What is written down of a fleet, above all when it did not start.
#include "warm/diagnostics.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "unit/warm/small_fleet.h"

namespace nanochat::testing {
namespace {

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const JsonMember& member : object.items()) keys.push_back(member.key);
  return keys;
}

void expect_first_keys(const Json& object, const std::vector<std::string>& expected) {
  std::vector<std::string> keys = keys_of(object);
  ASSERT_GE(keys.size(), expected.size());
  keys.resize(expected.size());
  EXPECT_EQ(keys, expected);
}

class Diagnostics : public ::testing::Test {
 protected:
  std::shared_ptr<Fleet> open() { return Fleet::open(device_, files_.manifest_path(), {}); }

  // The dump of a start that fails, made at the moment when one is made.
  Json dump_of_failure() {
    const auto fleet = open();
    Json dump;
    LoadWatch watch;
    watch.before_release = [&](const Error& error) { dump = diagnostic_dump(*fleet, &error); };
    const Error error = error_of([&] { fleet->warm(watch); });
    if (dump.is_null()) dump = diagnostic_dump(*fleet, &error);
    return parse_json(write_json(dump, 2), "dump");
  }

  SmallFleet files_;
  std::shared_ptr<Device> device_ = make_device();
};

TEST_F(Diagnostics, HaveTheSummaryFirstAndTheFieldsOfTheSpecification) {
  files_.component("roberta")["checksum"] = std::string(32, '0');
  files_.save();
  const Json dump = dump_of_failure();
  EXPECT_EQ(keys_of(dump), (std::vector<std::string>{"summary", "schema", "timestamp", "error", "gpu_state",
                                                     "model_progress", "configuration", "allocation_history",
                                                     "system_info"}));
  expect_first_keys(dump["error"], {"code", "name", "message", "details"});
  expect_first_keys(dump["gpu_state"], {"device_name", "driver_version", "cuda_version", "compute_capability",
                                        "vram_total_bytes", "vram_used_bytes", "vram_free_bytes",
                                        "temperature_celsius", "power_usage_watts"});
  expect_first_keys(dump["model_progress"][0], {"model_id", "state", "bytes_loaded", "total_bytes",
                                                "progress_percent", "load_duration_ms"});
  expect_first_keys(dump["configuration"], {"vram_budget_bytes", "vram_headroom_bytes", "model_weights_path",
                                            "diagnostic_dump_path", "cuda_device_id", "enable_test_inference",
                                            "max_load_time_per_model_ms", "quantization"});
  expect_first_keys(dump["allocation_history"][0], {"timestamp", "name", "bytes", "success", "vram_after"});
  expect_first_keys(dump["system_info"], {"hostname", "os", "kernel", "uptime_seconds", "n_cpus", "pid",
                                          "rlimit_memlock", "resident_bytes", "open_files"});
}

TEST_F(Diagnostics, TellWhoFailedAndHowFarTheOthersWere) {
  files_.component("roberta")["checksum"] = std::string(32, '0');
  files_.save();
  const Json dump = dump_of_failure();
  const Json& error = dump["error"];
  EXPECT_EQ(error["code"], 103);
  EXPECT_EQ(error["name"], "MODEL_VALIDATION_FAILED");
  EXPECT_EQ(error["code_string"], "ERR-WARM-MODEL-VALIDATION");
  EXPECT_EQ(error["category"], "MODEL_VALIDATION");
  EXPECT_EQ(error["exit_code"], 103);
  EXPECT_EQ(error["details"]["model_id"], "roberta");
  EXPECT_EQ(error["details"]["expected_checksum"], std::string(32, '0'));
  const std::string summary = dump["summary"].get<std::string>();
  for (const char* const part :
       {"'small'", "roberta", "exit code 103", "ERR-WARM-MODEL-VALIDATION", "of 10"}) {
    EXPECT_NE(summary.find(part), std::string::npos) << part << ": " << summary;
  }
  ASSERT_EQ(dump["model_progress"].size(), 10u);
  const Json& failed = dump["model_progress"][1];
  EXPECT_EQ(failed["model_id"], "roberta");
  EXPECT_EQ(failed["state"], "Failed");
  EXPECT_EQ(failed["error_code"], 103);
  EXPECT_EQ(failed["error_message"], error["message"]);
  for (const Json& progress : dump["model_progress"]) {
    EXPECT_LE(progress["bytes_loaded"].get<uint64_t>(), progress["total_bytes"].get<uint64_t>());
  }
}

TEST_F(Diagnostics, TellOfAStartThatWasRefusedBeforeItBegan) {
  files_.manifest()["config"]["vram_budget_bytes"] = 1000;
  files_.save();
  const Json dump = dump_of_failure();
  EXPECT_EQ(dump["error"]["code"], 104);
  EXPECT_EQ(dump["configuration"]["vram_budget_bytes"], 1000);
  EXPECT_NE(dump["error"]["details"]["model_breakdown"].get<std::string>().find("roberta"),
            std::string::npos);
  for (const Json& progress : dump["model_progress"]) EXPECT_EQ(progress["state"], "Pending");
  EXPECT_TRUE(dump["allocation_history"].empty()) << "nothing was taken";
}

TEST_F(Diagnostics, HaveTheNumbersOfTheDeviceAndTheProcess) {
  const auto fleet = open();
  fleet->warm({});
  const Json dump = diagnostic_dump(*fleet, nullptr);
  EXPECT_TRUE(dump["error"].is_null());
  EXPECT_EQ(dump["gpu_state"]["device"], "cpu");
  EXPECT_EQ(dump["gpu_state"]["device_name"], device_->facts().hardware);
  EXPECT_EQ(dump["gpu_state"]["compute_capability"], "");
  EXPECT_TRUE(dump["gpu_state"]["temperature_celsius"].is_null());
  EXPECT_EQ(dump["gpu_state"]["vram_total_bytes"], device_->memory().stats().device_total_bytes);
  EXPECT_EQ(dump["gpu_state"]["model_pool_bytes"], device_->memory().stats().model_bytes);
  const Json& system = dump["system_info"];
  EXPECT_EQ(system["pid"], static_cast<int64_t>(::getpid()));
  EXPECT_TRUE(system["os"].get<std::string>().starts_with("linux "));
  EXPECT_GE(system["n_cpus"].get<uint64_t>(), 1u);
  EXPECT_GE(system["open_files"].get<uint64_t>(), 3u);
  EXPECT_GT(system["resident_bytes"].get<uint64_t>(), device_->memory().stats().model_bytes);
  for (const Json& progress : dump["model_progress"]) {
    EXPECT_EQ(progress["state"], "Warm");
    EXPECT_EQ(progress["progress_percent"], 100);
  }
}

TEST_F(Diagnostics, HaveTheAllocationsOfTheModelsInOrder) {
  const auto fleet = open();
  fleet->warm({});
  const Json dump = diagnostic_dump(*fleet, nullptr);
  const Json& history = dump["allocation_history"];
  ASSERT_GT(history.size(), 0u);
  ASSERT_LE(history.size(), 100u);
  uint64_t taken = 0;
  for (const Json& event : history) {
    EXPECT_EQ(event["timestamp"].get<std::string>().size(), 24u);
    EXPECT_EQ(event["success"], true);
    const bool is_free = event["operation"] == "FREE";
    taken = is_free ? taken - event["bytes"].get<uint64_t>() : taken + event["bytes"].get<uint64_t>();
  }
  EXPECT_EQ(taken, device_->memory().stats().model_bytes);
}

TEST_F(Diagnostics, HideWhatMustNotBeKnown) {
  const auto fleet = open();
  const std::string password = "hunter2-is-no-password";
  const Error error = Error(Status::model_load_failed)
                          .subject("https://me:" + password + "@host/model")
                          .field("model_id", "E1")
                          .field("reason", "token=" + password)
                          .field("password", password)
                          .hint("Authorization: Bearer " + password)
                          .cause(Error(Status::file_io).say("api_key: '{}'", password))
                          .say("Model load failed for E1: password={}", password);
  const std::string text = write_json(diagnostic_dump(*fleet, &error), 2);
  EXPECT_EQ(text.find(password), std::string::npos) << text;
  EXPECT_NE(text.find("https://***@host/model"), std::string::npos);
  EXPECT_NE(text.find(files_.manifest_path()), std::string::npos) << "a path is no secret";
}

TEST_F(Diagnostics, AreMadeWithoutAFleetWhereItCouldNotBeOpened) {
  const Error error = Error(Status::config_invalid).field("field", "schema").say("the schema is not known");
  const Json dump = diagnostic_dump(*device_, WarmConfig(), error);
  EXPECT_EQ(keys_of(dump).front(), "summary");
  EXPECT_EQ(dump["error"]["code"], 7);
  EXPECT_EQ(dump["error"]["exit_code"], 1);
  EXPECT_TRUE(dump["model_progress"].is_array());
  EXPECT_TRUE(dump["model_progress"].empty());
  EXPECT_EQ(dump["configuration"]["vram_budget_bytes"], uint64_t{24} << 30);
}

}  // namespace
}  // namespace nanochat::testing
