// The program on a CUDA device: the library finds the module beside it, which here runs in the emulator.
#ifdef NANOCHAT_EMULATED_FOLDER
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

ProgramRun run_on_cuda(const std::string& arguments) {
  return run_script(std::string("export LD_LIBRARY_PATH='") + NANOCHAT_EMULATED_FOLDER + "'\n" + arguments);
}

TEST(CudaDevice, IsListedAndTheHostStaysTheDefault) {
  const ProgramRun run = run_on_cuda("$nanochat info --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json devices = json::parse(run.out).at("devices");
  EXPECT_TRUE(devices.at("cpu").at("is_default").get<bool>());
  EXPECT_FALSE(devices.at("cuda:0").at("is_default").get<bool>());
  EXPECT_GE(devices.at("cuda:0").at("capability").get<int>(), 80);
  EXPECT_GT(devices.at("cuda:0").at("memory_total_bytes").get<uint64_t>(), 0U);
}

TEST(CudaDevice, TellsTheReferencesStory) {
  const GoldenStory story = golden_story();
  const ProgramRun run =
      run_on_cuda("$nanochat infer --device cuda --model '" + story_model() +
                  "' --temperature 0 --json --max-tokens " + std::to_string(story.ids.size()) + " ''");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json line = json::parse(run.out);
  EXPECT_EQ(line.at("tokens").get<std::vector<int>>(), story.ids);
  EXPECT_EQ(line.at("text").get<std::string>(), story.text);
}

TEST(CudaDevice, EmbedsAsTheHostDoes) {
  const std::string arguments = "$nanochat embed --model '" + test_data("models/encoder_bert_mean") +
                                "' --json <<< 'the quick brown fox' --device ";
  const ProgramRun here = run_on_cuda(arguments + "cpu"), there = run_on_cuda(arguments + "cuda:0");
  ASSERT_EQ(here.exit_code, 0) << here.err;
  ASSERT_EQ(there.exit_code, 0) << there.err;
  const auto expected = json::parse(here.out).at("vectors")[0].get<std::vector<double>>(),
             got = json::parse(there.out).at("vectors")[0].get<std::vector<double>>();
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5) << i;
}

TEST(CudaDevice, WarmsAFleetAndTellsItsHealth) {
  const ScratchFolder folder;
  const ProgramRun run = run_on_cuda("$nanochat fleet init '" + folder.path("fleet") + "' > /dev/null && " +
                                     "$nanochat warm --device cuda --health full --no-progress --manifest '" +
                                     folder.path("fleet/manifest.json") + "'");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out.rfind("WARM: 13/13 models | ", 0), 0U) << run.out;
}

TEST(CudaDevice, OfAnotherNumberIsRefused) {
  const ProgramRun run =
      run_on_cuda("$nanochat infer --device cuda:7 --model '" + story_model() + "' --max-tokens 1 ''");
  EXPECT_NE(run.exit_code, 0);
  EXPECT_NE(run.err.find("cuda:7"), std::string::npos) << run.err;
  EXPECT_EQ(run.out, "");
}

}  // namespace
}  // namespace nanochat::test
#endif
