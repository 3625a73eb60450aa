// nanochat perplexity and quantize.
#include <cmath>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

json scored(const std::vector<std::string>& options, const std::string& file) {
  std::vector<std::string> arguments = {"perplexity", "--json", file};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const ProgramRun run = run_program(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.exit_code == 0 ? json::parse(run.out) : json::object();
}

// PyTorch's value for the same windows (tests/tools/check_perplexity.py).
TEST(Perplexity, IsWhatPyTorchComputes) {
  const ScratchFolder folder;
  std::string text;
  for (int i = 0; i < 12; ++i)
    text += "Lily and Tom went to the park. They saw a big dog, and it was " + std::to_string(i) +
            " years old!\n";
  const std::string file = folder.write("text", text);
  const json whole = scored({"--model", story_model()}, file);
  EXPECT_NEAR(whole.at("nll").get<double>(), 1.5639030538180836, 1e-5);
  EXPECT_EQ(whole.at("bytes"), text.size());
  EXPECT_NEAR(whole.at("perplexity").get<double>(), std::exp(whole.at("nll").get<double>()), 1e-9);
  EXPECT_NEAR(whole.at("bits_per_byte").get<double>(),
              whole.at("nll").get<double>() * whole.at("tokens").get<double>() / std::log(2.0) /
                  static_cast<double>(text.size()),
              1e-9);
  const json part = scored({"--model", story_model(), "--tokens", "150", "--context", "40"}, file);
  EXPECT_EQ(part.at("tokens"), 150);
  EXPECT_EQ(part.at("windows"), 4);  // 39 scored tokens in each but the last
  EXPECT_NEAR(part.at("nll").get<double>(), 1.967447480727803, 1e-5);
}

TEST(Perplexity, OfNarrowerWeightsIsClose) {
  const ScratchFolder folder;
  const std::string file = folder.write("text", golden_story().text);
  const double whole = scored({"--model", story_model()}, file).at("nll");
  for (const char* dtype : {"bf16", "int8"}) {
    const json narrow = scored({"--model", story_model(), "--dtype", dtype}, file);
    EXPECT_EQ(narrow.at("dtype"), dtype);
    EXPECT_NEAR(narrow.at("nll").get<double>(), whole, 0.05);
    EXPECT_NE(narrow.at("nll").get<double>(), whole);
  }
}

TEST(Perplexity, RefusesATextWithoutTokens) {
  const ScratchFolder folder;
  const ProgramRun run = run_program({"perplexity", "--model", story_model(), folder.write("empty", "")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("nothing to score"), std::string::npos) << run.err;
}

TEST(Quantize, WritesADirectoryThatRunsAsTheOriginalDoesInInt8) {
  const ScratchFolder folder;
  const std::string out = folder.path("int8"), text = folder.write("text", golden_story().text);
  const ProgramRun run = run_program({"quantize", "--model", story_model(), out});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_LT(std::filesystem::file_size(out + "/model.safetensors"), 300000U);
  const json written = scored({"--model", out}, text);
  EXPECT_EQ(written.at("dtype"), "int8");
  EXPECT_EQ(written.at("nll"), scored({"--model", story_model(), "--dtype", "int8"}, text).at("nll"));
  const ProgramRun twice = run_program({"quantize", "--model", folder.path("nowhere"), out});
  EXPECT_EQ(twice.exit_code, 1);
}

}  // namespace
}  // namespace nanochat::test
