// nanochat bench: what it reports, never how fast that was.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

json last_line(const std::string& text) {
  const std::string body = text.substr(0, text.find_last_not_of('\n') + 1);
  return json::parse(body.substr(body.rfind('\n') + 1));
}

void expect_common_facts(const json& facts, const std::string& kind) {
  EXPECT_EQ(facts.at("bench"), kind);
  EXPECT_EQ(facts.at("device"), "cpu");
  EXPECT_NE(facts.at("isa"), "");
  EXPECT_GE(facts.at("threads"), 1);
  EXPECT_GT(facts.at("seconds"), 0);
  EXPECT_GT(facts.at("bandwidth_share"), 0);
  EXPECT_GT(facts.at("machine_read_bytes_per_second"), 0);
  EXPECT_GT(facts.at("peak_memory_bytes"), facts.at("weight_bytes"));
}

TEST(Bench, MeasuresDecoding) {
  const ProgramRun run = run_program({"bench", "decode", "--model", story_model(), "--tokens", "16"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json facts = last_line(run.out);
  expect_common_facts(facts, "decode");
  EXPECT_EQ(facts.at("tokens"), 16);
  EXPECT_GT(facts.at("tokens_per_second"), 0);
  EXPECT_GT(facts.at("bytes_per_token"), 0);
  EXPECT_GT(facts.at("arithmetic_share"), 0);
  EXPECT_GT(facts.at("first_token_ms"), 0);
  EXPECT_EQ(facts.at("dtype"), "f32");
}

TEST(Bench, MeasuresASyntheticPrompt) {
  const ProgramRun run = run_program({"bench", "prefill", "--synthetic", "v0-d1", "--dtype", "bf16",
                                      "--tokens", "32", "--repeats", "1", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json facts = json::parse(run.out);
  expect_common_facts(facts, "prefill");
  EXPECT_EQ(facts.at("tokens"), 32);
  EXPECT_EQ(facts.at("model"), "v0-d1");
  EXPECT_EQ(facts.at("dtype"), "bf16");
}

TEST(Bench, MeasuresInt8Weights) {
  const ProgramRun run = run_program({"bench", "decode", "--synthetic", "v0-d1", "--dtype", "int8",
                                      "--tokens", "4", "--repeats", "1", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json facts = json::parse(run.out);
  expect_common_facts(facts, "decode");
  EXPECT_EQ(facts.at("dtype"), "int8");
}

TEST(Bench, MeasuresLoadingAndCleansUp) {
  const ScratchFolder scratch;
  const ProgramRun run = run_script("export TMPDIR='" + scratch.path("") +
                                    "'; \"$nanochat\" bench load --synthetic v0-d1 --repeats 1 --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json facts = json::parse(run.out);
  expect_common_facts(facts, "load");
  EXPECT_GT(facts.at("bytes_per_second"), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.folder()));
}

TEST(Bench, MeasuresManySessionsAtOnce) {
  const ProgramRun run =
      run_program({"bench", "batch", "--model", story_model(), "--sessions", "1,3", "--tokens", "8",
                   "--prompt-again", "200", "--draft-tokens", "2", "--repeats", "1"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json facts = last_line(run.out);
  EXPECT_EQ(facts.at("bench"), "batch");
  EXPECT_EQ(facts.at("tokens"), 8);
  EXPECT_GT(facts.at("prompt_seconds"), 0);
  EXPECT_GT(facts.at("prompt_again_seconds"), 0);
  EXPECT_GT(facts.at("machine_read_bytes_per_second"), 0);
  const json& batches = facts.at("batches");
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(batches[0].at("times_the_first"), 1.0);
  EXPECT_EQ(batches[1].at("sessions"), 3);
  EXPECT_GE(batches[1].at("rows_per_pass"), 3);
  for (const char* fact :
       {"seconds", "tokens_per_second", "tokens_per_second_each", "bandwidth_share", "arithmetic_share"}) {
    EXPECT_GT(batches[1].at(fact), 0) << fact;
  }
}

TEST(Bench, MeasuresATokenizer) {
  const ScratchFolder scratch;
  const std::string text = scratch.write("text", "Once upon a time there was a cat.\nIt sat.\n");
  const ProgramRun run = run_program({"bench", "tokenizer", "--tokenizer", story_model(), "--text", text,
                                      "--repeats", "2", "--threads", "2", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto facts = nlohmann::json::parse(run.out);
  EXPECT_EQ(facts.at("bench"), "tokenizer");
  EXPECT_EQ(facts.at("threads"), 2);
  EXPECT_EQ(facts.at("vocab_size"), 512);
  for (const char* key :
       {"load_ms", "encode_megabytes_per_second", "encode_tokens_per_second", "batch_speedup",
        "count_megabytes_per_second", "batch_megabytes_per_second", "decode_tokens_per_second"}) {
    EXPECT_GT(facts.at(key).get<double>(), 0) << key;
  }
  EXPECT_EQ(run_program({"bench", "tokenizer", "--tokenizer", story_model()}).exit_code, 1);
}

TEST(Bench, NeedsToKnowWhat) {
  EXPECT_EQ(run_program({"bench", "batch", "--synthetic", "v0-d1", "--sessions", "0"}).exit_code, 1);
  EXPECT_EQ(run_program({"bench", "decode"}).exit_code, 1);
  EXPECT_EQ(run_program({"bench", "decode", "--model", "x", "--synthetic", "v0-d1"}).exit_code, 1);
  const ProgramRun run = run_program({"bench", "decode", "--synthetic", "v9-d1"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("v9-d1"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace nanochat::test
