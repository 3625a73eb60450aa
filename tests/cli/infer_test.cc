// nanochat infer, held against the reference's greedy story.
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using Arguments = std::vector<std::string>;

ProgramRun infer(const Arguments& arguments, std::string_view input = {}) {
  Arguments all = {"infer", "--model", story_model()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_program(all, input);
}

std::string n_golden_tokens() { return std::to_string(golden_story().ids.size()); }

TEST(Infer, TellsTheReferencesStoryAndNothingElse) {
  const ProgramRun run = infer({"--temperature", "0", "--max-tokens", n_golden_tokens(), ""});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, golden_story().text);
  EXPECT_EQ(run.err, "");
}

TEST(Infer, TellsTheSameWithoutStreaming) {
  const ProgramRun run =
      infer({"--temperature", "0", "--max-tokens", n_golden_tokens(), "--stream", "false", ""});
  EXPECT_EQ(run.out, golden_story().text);
}

TEST(Infer, ReportsTheReferencesTokensAsJson) {
  const ProgramRun run = infer({"--temperature", "0", "--max-tokens", n_golden_tokens(), "--json", ""});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto line = nlohmann::json::parse(run.out);
  EXPECT_EQ(line.at("tokens").get<std::vector<int>>(), golden_story().ids);
  EXPECT_EQ(line.at("text").get<std::string>(), golden_story().text);
  EXPECT_EQ(line.at("finish"), "length");
  EXPECT_EQ(line.at("generated_tokens"), golden_story().ids.size());
}

TEST(Infer, TakesThePromptFromStandardInputWithoutItsLastLineBreak) {
  const Arguments greedy = {"--temperature", "0", "--max-tokens", "20"};
  Arguments with_prompt = greedy;
  with_prompt.emplace_back("Lily had a cat");
  const ProgramRun given = infer(with_prompt);
  EXPECT_EQ(given.exit_code, 0) << given.err;
  EXPECT_NE(given.out, "");
  EXPECT_EQ(infer(greedy, "Lily had a cat\n").out, given.out);
  EXPECT_EQ(infer(greedy, "Lily had a cat\r\n").out, given.out);
  EXPECT_EQ(infer(greedy, "Lily had a cat").out, given.out);
}

TEST(Infer, TakesAnEmptyStandardInputAsAnEmptyPrompt) {
  const ProgramRun run = infer({"--temperature", "0", "--max-tokens", n_golden_tokens()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, golden_story().text);
}

TEST(Infer, TakesAPromptThatLooksLikeAnOptionAfterTwoDashes) {
  const ProgramRun run = infer({"--max-tokens", "2", "--", "--model"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

TEST(Infer, GoesThroughAnyBytes) {
  for (const std::string& prompt : {std::string("na\xc3\xafve \xe2\x9c\x93 \xf0\x9f\x90\x88"),
                                    std::string("\xff\xfe"), std::string("a\0b", 3), std::string("   ")}) {
    const ProgramRun run = infer({"--max-tokens", "4"}, prompt);
    EXPECT_EQ(run.exit_code, 0) << run.err;
  }
}

TEST(Infer, RepeatsItselfForTheSameSeedOnly) {
  const auto story = [](const char* seed) {
    return infer({"--temperature", "1", "--seed", seed, "--max-tokens", "60", "Once"}).out;
  };
  EXPECT_EQ(story("7"), story("7"));
  EXPECT_NE(story("7"), story("8"));
}

TEST(Infer, WritesTheSameForAnyNumberOfThreads) {
  const auto story = [](const char* threads) {
    return infer({"--seed", "3", "--max-tokens", "60", "--threads", threads, "Once"}).out;
  };
  EXPECT_EQ(story("1"), story("3"));
}

// The prompt is computed once and copied for several samples: that must not show.
TEST(Infer, DrawsSamplesOfWhichTheFirstIsTheOneDrawnAlone) {
  const Arguments settings = {"--temperature", "1", "--seed", "5", "--max-tokens", "30", "Once upon a time"};
  Arguments three = settings;
  three.insert(three.begin(), {"--samples", "3"});
  const std::string alone = infer(settings).out;
  const ProgramRun run = infer(three);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with(alone + "\n---\n")) << run.out;
  three.insert(three.begin(), "--json");
  std::vector<std::string> texts;
  std::istringstream lines(infer(three).out);
  for (std::string line; std::getline(lines, line);) texts.push_back(nlohmann::json::parse(line).at("text"));
  ASSERT_EQ(texts.size(), 3U);
  EXPECT_EQ(run.out, texts[0] + "\n---\n" + texts[1] + "\n---\n" + texts[2]);
  EXPECT_NE(texts[0], texts[1]);
}

TEST(Infer, StopsBeforeAStopText) {
  const std::string story = golden_story().text;
  const ProgramRun run = infer({"--temperature", "0", "--stop", "loved to", "--stop", "never said", ""});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, story.substr(0, story.find("loved to")));
}

TEST(Infer, GoesOnWhenThePromptIsLongerThanTheContext) {
  std::string prompt;
  for (int i = 0; i < 300; ++i) prompt += "Lily saw a big red ball. ";
  const ProgramRun run = infer({"--max-tokens", "8"}, prompt);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out, "");
  EXPECT_NE(run.err.find("an older part of it is left out"), std::string::npos) << run.err;
}

TEST(Infer, RunsWithBf16Weights) {
  const ProgramRun run = infer({"--dtype", "bf16", "--temperature", "0", "--max-tokens", "8", ""});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with("Once upon a time")) << run.out;
}

TEST(Infer, KeepsKeysAndValuesInTheTypeThatIsAskedFor) {
  for (const char* dtype : {"f32", "bf16", "int8"}) {
    const ProgramRun run =
        infer({"--kv-dtype", dtype, "--temperature", "0", "--max-tokens", "20", "--json", "Once"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(nlohmann::json::parse(run.out).at("generated_tokens"), 20) << dtype;
  }
  EXPECT_EQ(infer({"--kv-dtype", "f16", "Once"}).exit_code, 1);
}

TEST(InferFailure, IsOneForAModelThatIsNotThere) {
  const ProgramRun run = run_program({"infer", "--model", "/no/such/model", "Hello"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(run.err.starts_with("nanochat: ")) << run.err;
  EXPECT_NE(run.err.find("/no/such/model"), std::string::npos) << run.err;
}

TEST(InferFailure, IsOneForWeightsThatAreJunk) {
  const ScratchFolder scratch;
  std::filesystem::copy(story_model(), scratch.folder(), std::filesystem::copy_options::recursive);
  scratch.write("model.safetensors", "this is not a safetensors file at all");
  const ProgramRun run = run_program({"infer", "--model", scratch.path(""), "Hello"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find("model.safetensors"), std::string::npos) << run.err;
}

TEST(InferFailure, IsOneForAModelWithoutTokenizer) {
  const ScratchFolder scratch;
  for (const char* name : {"config.json", "model.safetensors"}) {
    std::filesystem::copy(story_model() + "/" + name, scratch.path(name));
  }
  const ProgramRun run = run_program({"infer", "--model", scratch.path(""), "Hello"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("tokenizer"), std::string::npos) << run.err;
  const ProgramRun helped =
      run_program({"infer", "--model", scratch.path(""), "--tokenizer", story_model() + "/tokenizer.json",
                   "--temperature", "0", "--max-tokens", n_golden_tokens(), ""});
  EXPECT_EQ(helped.out, golden_story().text) << helped.err;
}

TEST(InferFailure, KeepsControlCharactersOfANameOffTheTerminal) {
  const ProgramRun run = run_program({"infer", "--model", "no\x1b[31m\nmodel", "Hello"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.err.find('\x1b'), std::string::npos);
}

TEST(InferFailure, IsTwoForAFullDisk) {
  const ProgramRun run = run_script("\"$nanochat\" infer --model '" + story_model() + "' Once > /dev/full");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.err.find("standard output"), std::string::npos) << run.err;
}

TEST(Infer, EndsQuietlyWhenNobodyReads) {
  const ProgramRun run =
      run_script("set -o pipefail; \"$nanochat\" infer --samples 1000 --max-tokens 4096 --model '" +
                 story_model() + "' Once | head -c 10 > /dev/null");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.err, "");
}

// More text than a pipe holds, so that the program cannot be done before the signal arrives.
TEST(Infer, StopsOnCtrlC) {
  const Arguments endless = {"infer", "--model",      story_model(), "--samples",
                             "1000",  "--max-tokens", "4096",        "Once"};
  const ProgramRun run = interrupt_program(endless, SIGINT);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_EQ(run.err, "nanochat: interrupted\n");
  EXPECT_EQ(interrupt_program(endless, SIGTERM).exit_code, 143);
}

}  // namespace
}  // namespace nanochat::test
