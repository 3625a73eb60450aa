// nanochat warm and nanochat fleet.
#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

// Read only.
const std::string& sample_fleet() {
  static const ScratchFolder folder;
  static const std::string path = [] {
    const ProgramRun run = run_program({"fleet", "init", folder.path("fleet")});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, folder.path("fleet/manifest.json") + "\n");
    return folder.path("fleet");
  }();
  return path;
}

std::string manifest() { return sample_fleet() + "/manifest.json"; }

std::string copy_of_fleet(const ScratchFolder& folder) {
  std::filesystem::copy(sample_fleet(), folder.path("copy"), std::filesystem::copy_options::recursive);
  return folder.path("copy");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path());
  return names;
}

TEST(Warm, TellsTheHealthOfAllThirteenComponents) {
  const ProgramRun run = run_program({"warm", "--manifest", manifest(), "--health", "full", "--no-progress"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  const std::vector<std::string> lines = lines_of(run.out);
  ASSERT_EQ(lines.size(), 15U);
  EXPECT_EQ(lines[0].rfind("WARM: 13/13 models | ", 0), 0U) << lines[0];
  EXPECT_NE(lines[2].find("E1_Semantic"), std::string::npos);
  EXPECT_NE(lines[3].find("computed"), std::string::npos);
  for (size_t i = 2; i < lines.size(); ++i) {
    EXPECT_NE(lines[i].find(" warm "), std::string::npos) << lines[i];
    EXPECT_NE(lines[i].find("passed, "), std::string::npos) << lines[i];
  }
}

TEST(Warm, WritesHealthAsOneLineOfJson) {
  const ProgramRun run = run_program({"warm", "--manifest", manifest(), "--json", "--no-progress"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json health = json::parse(run.out);
  EXPECT_EQ(lines_of(run.out).size(), 1U);
  EXPECT_EQ(health.at("status"), "healthy");
  EXPECT_EQ(health.at("models").size(), 12U);
  EXPECT_EQ(health.at("fusemoe").at("gating_network_loaded"), true);
  EXPECT_EQ(health.at("models")[0].at("vram_address").get<std::string>().size(), 18U);
}

TEST(Warm, ShowsALineForEachComponentThatIsDoneOnStandardError) {
  const ProgramRun run = run_program({"warm", "--manifest", manifest()});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<std::string> lines = lines_of(run.err);
  EXPECT_EQ(lines.size(), 13U) << run.err;
  for (const std::string& line : lines) EXPECT_NE(line.find(": warm, "), std::string::npos) << line;
}

TEST(Warm, PlansWithoutLoading) {
  const ProgramRun fits = run_program({"warm", "--manifest", manifest(), "--plan", "--json"});
  ASSERT_EQ(fits.exit_code, 0) << fits.err;
  const json plan = json::parse(fits.out);
  EXPECT_EQ(plan.at("fits"), true);
  uint64_t sum = 0;
  for (const json& model : plan.at("models")) sum += model.at("model_bytes").get<uint64_t>();
  EXPECT_EQ(plan.at("model_bytes"), sum);
  const ProgramRun table = run_program({"warm", "--manifest", manifest(), "--plan"});
  EXPECT_EQ(lines_of(table.out).back(), "fits");
  const ProgramRun not_fitting =
      run_program({"warm", "--manifest", manifest(), "--plan", "--budget", "100000"});
  EXPECT_EQ(not_fitting.exit_code, 104);
  EXPECT_EQ(lines_of(not_fitting.out).back(), "does not fit");
  EXPECT_NE(not_fitting.err.find("Insufficient VRAM"), std::string::npos) << not_fitting.err;
}

TEST(Warm, EmbedsATextThroughAllModels) {
  const ProgramRun run =
      run_program({"warm", "--manifest", manifest(), "--embed", "a red fox", "--json", "--no-progress"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json fused = json::parse(run.out);
  EXPECT_EQ(fused.at("text"), "a red fox");
  EXPECT_EQ(fused.at("vector").size(), 96U);
  EXPECT_EQ(fused.at("experts").size(), 4U);
  const ProgramRun numbers = run_program({"warm", "--manifest", manifest(), "--embed", "a red fox"});
  std::istringstream stream(numbers.out);
  size_t n = 0;
  for (float value = 0; stream >> value;) ++n;
  EXPECT_EQ(n, 96U);
}

TEST(Warm, StartsWithTheExitCodeOfItsFailureAndADump) {
  const ScratchFolder folder;
  const std::string fleet = copy_of_fleet(folder);
  std::filesystem::remove(fleet + "/E5_Causal/model.safetensors");
  const ProgramRun run = run_program({"warm", "--manifest", fleet + "/manifest.json"});
  EXPECT_EQ(run.exit_code, 101);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find("E5_Causal"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find(fleet), std::string::npos) << run.err;
  const std::vector<std::string> dumps = files_in(fleet + "/dumps");
  ASSERT_EQ(dumps.size(), 1U);
  EXPECT_NE(run.err.find("dump written to " + dumps[0]), std::string::npos) << run.err;
  const json dump = json::parse(read_file(dumps[0]));
  EXPECT_EQ(dump.at("error").at("code"), 101);
  EXPECT_TRUE(dump.contains("gpu_state") && dump.contains("configuration") && dump.contains("timestamp"));
}

TEST(Warm, ShowsTheDumpWhenNoFileCanTakeIt) {
  const std::string common = "$nanochat warm --manifest " + manifest() + " --budget 1000 --no-progress ";
  const ProgramRun nowhere = run_script(common + "--no-dump");
  EXPECT_EQ(nowhere.exit_code, 104);
  EXPECT_EQ(nowhere.err.find("\"summary\""), std::string::npos) << nowhere.err;
  const ProgramRun elsewhere = run_script(common + "--dump /dev/null/dumps");
  EXPECT_EQ(elsewhere.exit_code, 104);
  const size_t at = elsewhere.err.find("dump written to /tmp/context-graph-dump-");
  ASSERT_NE(at, std::string::npos) << elsewhere.err;
  const size_t begin = elsewhere.err.find('/', at);
  std::filesystem::remove(elsewhere.err.substr(begin, elsewhere.err.find('\n', begin) - begin));
}

TEST(Warm, TakesSettingsFromTheEnvironmentAndOptionsBeforeThem) {
  const std::string run = "$nanochat warm --manifest " + manifest() + " --no-progress --no-dump ";
  EXPECT_EQ(run_script("WARM_VRAM_BUDGET_BYTES=1000 " + run).exit_code, 104);
  EXPECT_EQ(run_script("WARM_VRAM_BUDGET_BYTES=1000 " + run + "--budget 100000000").exit_code, 0);
  EXPECT_EQ(run_script(run + "--headroom 1000000000000000").exit_code, 105);
  EXPECT_EQ(run_script(run + "--device cuda").exit_code, 106);
  EXPECT_EQ(run_script(run + "--quantization int8").exit_code, 103);
  EXPECT_EQ(run_script(run + "--quantization int8 --no-test-inference").exit_code, 0);
  const ProgramRun wrong = run_script("WARM_QUANTIZATION=FP17 " + run);
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.err.find("WARM_QUANTIZATION"), std::string::npos) << wrong.err;
}

TEST(Warm, WatchesUntilItIsInterruptedAndShutsDown) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const ProgramRun run = interrupt_program(
        {"warm", "--manifest", manifest(), "--json", "--watch", "0.05", "--no-progress"}, signal);
    EXPECT_EQ(run.exit_code, 128 + signal);
    for (const std::string& line : lines_of(run.out)) EXPECT_EQ(json::parse(line).at("status"), "healthy");
  }
}

TEST(Warm, RefusesWrongUsage) {
  EXPECT_EQ(run_program({"warm"}).exit_code, 1);
  EXPECT_EQ(run_program({"warm", "--manifest", manifest(), "--plan", "--watch"}).exit_code, 1);
  EXPECT_EQ(run_program({"warm", "--manifest", manifest(), "--health", "half"}).exit_code, 1);
  EXPECT_EQ(run_program({"warm", "--manifest", manifest(), "--budget", "-1"}).exit_code, 1);
  const ProgramRun missing = run_program({"warm", "--manifest", "/no/such/manifest.json"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.err.find("/no/such/manifest.json"), std::string::npos) << missing.err;
}

TEST(Fleet, RecordsAnswersThatALaterStartChecks) {
  const ScratchFolder folder;
  const std::string fleet = copy_of_fleet(folder);
  // As an operator has put it together: without answers and checksums.
  json bare = json::parse(read_file(fleet + "/manifest.json"));
  for (json& component : bare["components"]) {
    for (const char* key : {"checksum", "bytes", "dimension"}) component.erase(key);
    component["test"].erase("reference");
  }
  const std::string plain = folder.write("copy/plain.json", bare.dump());
  const ProgramRun run = run_program({"fleet", "record", "--manifest", plain, "--out", fleet + "/new.json",
                                      "--folder", fleet + "/answers", "--no-progress"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json recorded = json::parse(read_file(fleet + "/new.json"));
  EXPECT_EQ(recorded.at("components")[0].at("test").at("reference"), "answers/E1_Semantic.safetensors");
  EXPECT_EQ(recorded.at("components")[0].at("checksum").get<std::string>().size(), 32U);
  EXPECT_EQ(run_program({"warm", "--manifest", fleet + "/new.json", "--no-progress"}).exit_code, 0);

  // Another model in its place is noticed.
  std::filesystem::copy(fleet + "/E11_Entity/model.safetensors", fleet + "/E8_Graph/model.safetensors",
                        std::filesystem::copy_options::overwrite_existing);
  const ProgramRun other =
      run_program({"warm", "--manifest", fleet + "/new.json", "--no-progress", "--no-dump"});
  EXPECT_EQ(other.exit_code, 103);
  EXPECT_NE(other.err.find("E8_Graph"), std::string::npos) << other.err;
}

TEST(Fleet, DependsOnTheSeedAlone) {
  const ScratchFolder folder;
  const auto make = [&](const char* name, const char* seed) {
    EXPECT_EQ(run_program({"fleet", "init", folder.path(name), "--seed", seed}).exit_code, 0);
    return read_file(folder.path(name) + "/E12_LateInteraction/model.safetensors");
  };
  const std::string first = make("a", "1");
  EXPECT_EQ(first, make("b", "1"));
  EXPECT_NE(first, make("c", "2"));
  EXPECT_EQ(first, read_file(sample_fleet() + "/E12_LateInteraction/model.safetensors"));
}

}  // namespace
}  // namespace nanochat::test
