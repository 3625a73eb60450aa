// Help, wrong usage and the description of the library.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using Arguments = std::vector<std::string>;

class EveryCommand : public testing::TestWithParam<Arguments> {};

TEST_P(EveryCommand, ExplainsItselfOnStandardOutput) {
  Arguments arguments = GetParam();
  arguments.push_back("--help");
  const ProgramRun run = run_program(arguments);
  EXPECT_EQ(run.exit_code, 0);
  std::string name = "nanochat";
  for (const std::string& word : GetParam()) name += " " + word;
  EXPECT_NE(run.out.find("Usage: " + name + " ["), std::string::npos) << run.out;
  EXPECT_EQ(run.err, "");
}

TEST_P(EveryCommand, RefusesAnUnknownOptionByName) {
  Arguments arguments = GetParam();
  arguments.push_back("--no-such-option");
  const ProgramRun run = run_program(arguments);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(run.err.starts_with("nanochat: ")) << run.err;
}

INSTANTIATE_TEST_SUITE_P(Usage, EveryCommand,
                         testing::Values(Arguments{}, Arguments{"infer"}, Arguments{"chat"},
                                         Arguments{"info"}, Arguments{"tokenizer"},
                                         Arguments{"tokenizer", "train"}, Arguments{"tokenizer", "encode"},
                                         Arguments{"tokenizer", "decode"}, Arguments{"forward"},
                                         Arguments{"export"}, Arguments{"quantize"}, Arguments{"perplexity"},
                                         Arguments{"bench"}, Arguments{"bench", "decode"},
                                         Arguments{"bench", "prefill"}, Arguments{"bench", "load"}));

TEST(Usage, NeedsACommand) {
  const ProgramRun run = run_program({});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find("hint: try 'nanochat --help'"), std::string::npos) << run.err;
}

TEST(Usage, RefusesAnUnknownCommand) {
  const ProgramRun run = run_program({"sing"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.err, "nanochat: there is no command 'sing'\n  hint: try 'nanochat --help'\n");
}

TEST(Usage, SaysItsVersion) {
  const ProgramRun run = run_program({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_TRUE(run.out.starts_with("nanochat 0.")) << run.out;
}

class BadSetting : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadSetting, IsRefusedWithItsValue) {
  const auto [option, value] = GetParam();
  const ProgramRun run = run_program({"infer", "--model", story_model(), option, value, "Hello"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find(option), std::string::npos) << run.err;
  EXPECT_NE(run.err.find(value), std::string::npos) << run.err;
}

INSTANTIATE_TEST_SUITE_P(
    Usage, BadSetting,
    testing::Values(std::pair{"--temperature", "2.5"}, std::pair{"--temperature", "-1"},
                    std::pair{"--temperature", "nan"}, std::pair{"--temperature", "warm"},
                    std::pair{"--top-k", "201"}, std::pair{"--top-k", "-1"}, std::pair{"--top-p", "1.5"},
                    std::pair{"--min-p", "inf"}, std::pair{"--max-tokens", "0"},
                    std::pair{"--max-tokens", "4097"}, std::pair{"--samples", "0"},
                    std::pair{"--threads", "-2"}, std::pair{"--dtype", "f64"}, std::pair{"--seed", "-7"},
                    std::pair{"--seed", "99999999999999999999"}, std::pair{"--repetition-penalty", "0"},
                    std::pair{"--stream", "perhaps"}));

TEST(Info, DescribesTheLibraryAndTheMachine) {
  const ProgramRun run = run_program({"info", "--json", "--threads", "1"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto facts = nlohmann::json::parse(run.out);
  EXPECT_EQ(facts.at("schema"), "nanochat-info-1");
  EXPECT_EQ(facts.at("version"), facts.at("build").at("version"));
  EXPECT_EQ(facts.at("runtime").at("device"), "cpu");
  EXPECT_EQ(facts.at("runtime").at("threads"), 1);
  EXPECT_NE(facts.at("runtime").at("isa"), "");
  EXPECT_FALSE(facts.contains("model"));
}

TEST(Info, PlansWhatTheModelThenTakes) {
  const ProgramRun run = run_program({"info", "--json", "--model", story_model()});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto facts = nlohmann::json::parse(run.out);
  EXPECT_EQ(facts.at("plan").at("weight_bytes"), facts.at("model").at("weight_bytes"));
  EXPECT_EQ(facts.at("model").at("n_layer"), 5);
  EXPECT_EQ(facts.at("model").at("n_head"), 8);
  EXPECT_EQ(facts.at("model").at("n_kv_head"), 4);
  EXPECT_EQ(facts.at("model").at("n_embd"), 64);
  EXPECT_EQ(facts.at("model").at("vocab_size"), 512);
}

TEST(Info, ReadsAsLinesForPeople) {
  const ProgramRun run = run_program({"info", "--model", story_model()});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("\nruntime.device "), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("\nmodel.n_layer "), std::string::npos) << run.out;
}

TEST(Info, RefusesAnInstructionSetThatDoesNotExist) {
  const ProgramRun run = run_script("NANOCHAT_CPU=abacus \"$nanochat\" info");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("abacus"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace nanochat::test
