// nanochat tokenizer train, encode, decode.
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

std::string story_tokenizer() { return story_model() + "/tokenizer.json"; }

ProgramRun encode(const std::string& tokenizer, std::string_view text, const std::string& more = {}) {
  std::vector<std::string> arguments = {"tokenizer", "encode", "--tokenizer", tokenizer};
  if (!more.empty()) arguments.push_back(more);
  return run_program(arguments, text);
}

ProgramRun decode(const std::string& tokenizer, std::string_view ids) {
  return run_program({"tokenizer", "decode", "--tokenizer", tokenizer}, ids);
}

TEST(TokenizerCommand, DecodesWhatItEncoded) {
  const std::string text = "One day, na\xc3\xafve L\xc3\xadly saw \xf0\x9f\x90\x88.\n\tAnd then?";
  const ProgramRun ids = encode(story_tokenizer(), text);
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(ids.err, "");
  EXPECT_TRUE(json::parse(ids.out).is_array());
  EXPECT_EQ(decode(story_tokenizer(), ids.out).out, text);
}

TEST(TokenizerCommand, AddsBosOnlyWhenAsked) {
  const json plain = json::parse(encode(story_tokenizer(), "Once").out);
  const json added = json::parse(encode(story_tokenizer(), "Once", "--add-specials").out);
  EXPECT_EQ(added.size(), plain.size() + 1);
  EXPECT_EQ(added.at(0), 1);
}

TEST(TokenizerCommand, CountsIds) {
  const json ids = json::parse(encode(story_tokenizer(), "Once upon a time").out);
  EXPECT_EQ(encode(story_tokenizer(), "Once upon a time", "--count").out, std::to_string(ids.size()) + "\n");
}

TEST(TokenizerCommand, EncodesEachLineOfABatch) {
  const std::string once = encode(story_tokenizer(), "Once").out,
                    upon = encode(story_tokenizer(), "upon a time").out;
  const ProgramRun batch = encode(story_tokenizer(), "Once\n\nupon a time\n", "--batch");
  EXPECT_EQ(batch.exit_code, 0) << batch.err;
  EXPECT_EQ(batch.out, once + "[]\n" + upon);
  const ProgramRun cut = run_program({"tokenizer", "encode", "--tokenizer", story_tokenizer(), "--batch",
                                      "--offsets", "--max-tokens", "2", "--add-specials"},
                                     "Once upon");
  const json line = json::parse(cut.out);
  EXPECT_EQ(line.at("ids").size(), 2u);
  EXPECT_EQ(line.at("offsets"), json::parse("[[0,0],[0,4]]"));
  EXPECT_NE(encode(story_tokenizer(), "a", "--offsets").exit_code, 0);
}

TEST(TokenizerCommand, WritesAndReadsFiles) {
  const ScratchFolder scratch;
  const std::string text = scratch.write("text", "Once upon a time");
  const std::string ids = scratch.path("ids.json");
  EXPECT_EQ(
      run_program({"tokenizer", "encode", "--tokenizer", story_model(), "--input", text, "--output", ids})
          .out,
      "");
  const std::string back = scratch.path("back");
  EXPECT_EQ(
      run_program({"tokenizer", "decode", "--tokenizer", story_model(), "--input", ids, "--output", back})
          .out,
      "");
  EXPECT_EQ(read_file(back), "Once upon a time");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.folder()), {}), 3)
      << "temporary files left";
}

// ids made by the reference trainer and encoder, see tests/data/golden/README.md
TEST(TokenizerCommand, TrainsTheReferencesTokenizer) {
  const ScratchFolder scratch;
  const std::string tokenizer = scratch.path("tokenizer.json");
  const ProgramRun run = run_program(
      {"tokenizer", "train", "--input", test_data("golden/tokenizer/corpus/tinyshakespeare.txt"),
       "--documents", "file", "--vocab-size", "512", "--pattern", "nanochat", "--output", tokenizer});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "");
  const json strings = json::parse(read_file(test_data("golden/tokenizer/tinyshakespeare_512/encode.json")));
  ASSERT_GT(strings.size(), 10U);
  for (size_t i = 0; i < strings.size(); i += 3) {
    const json& entry = strings[i];
    EXPECT_EQ(json::parse(encode(tokenizer, entry.at("text").get<std::string>()).out), entry.at("ids"))
        << entry.at("text").dump();
  }
}

TEST(TokenizerCommand, TakesLinesOrFilesAsDocuments) {
  const ScratchFolder scratch;
  // A piece of white space may hold two line breaks, a line holds none.
  const std::string input = scratch.write("text", "a\n\na\n\na\n\na\n\n");
  const auto double_break = [&](const char* documents) {
    const std::string tokenizer = scratch.path(std::string(documents) + ".json");
    const ProgramRun run = run_program({"tokenizer", "train", "--input", input, "--documents", documents,
                                        "--vocab-size", "266", "--output", tokenizer, "--no-progress"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.err, "");
    return json::parse(encode(tokenizer, "\n\n").out).size();
  };
  EXPECT_EQ(double_break("file"), 1U);
  EXPECT_EQ(double_break("line"), 2U);
}

std::vector<std::string> train_arguments(const std::string& input, const std::string& output) {
  return {"tokenizer", "train", "--input", input, "--vocab-size", "600", "--output", output, "--no-progress"};
}

TEST(TokenizerCommand, TrainsFromFoldersWithinALimit) {
  const ScratchFolder scratch;
  std::filesystem::create_directory(scratch.path("corpus"));
  std::string lines;
  for (int i = 0; i < 3000; ++i) lines += json{{"body", "words word " + std::to_string(i * i)}}.dump() + "\n";
  scratch.write("corpus/a.jsonl", lines);
  scratch.write("corpus/b.txt", "more words\n");
  std::vector<std::string> arguments = train_arguments(scratch.path("corpus"), scratch.path("free.json"));
  for (const char* more : {"--text-field", "body", "--special", "<s>", "</s>"}) arguments.push_back(more);
  const ProgramRun unlimited = run_program(arguments);
  ASSERT_EQ(unlimited.exit_code, 0) << unlimited.err;
  arguments[7] = scratch.path("tight.json");
  for (const std::string& more :
       {std::string("--memory-limit"), std::string("1MiB"), std::string("--spill-dir"),
        scratch.folder().string(), std::string("--ranks"), scratch.path("t.tiktoken"),
        std::string("--token-bytes"), scratch.path("bytes.safetensors")}) {
    arguments.push_back(more);
  }
  const ProgramRun limited = run_program(arguments);
  ASSERT_EQ(limited.exit_code, 0) << limited.err;
  const std::string made = read_file(scratch.path("tight.json"));
  EXPECT_EQ(made, read_file(scratch.path("free.json")));
  EXPECT_NE(made.find("</s>"), std::string::npos);
  EXPECT_EQ(read_file(scratch.path("t.tiktoken")).substr(0, 7), "AA== 0\n");
  EXPECT_NE(read_file(scratch.path("bytes.safetensors")).find("token_bytes"), std::string::npos);
}

TEST(TokenizerCommand, NamesWhatItCannotTrainFrom) {
  const ScratchFolder scratch;
  const std::string bad = scratch.write("a.jsonl", "{\"text\":\"a\"}\nno json\n");
  const ProgramRun line = run_program(train_arguments(bad, scratch.path("t.json")));
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_NE(line.err.find(bad + ": line 2: not valid JSON"), std::string::npos) << line.err;
  std::vector<std::string> mixed = train_arguments(bad, scratch.path("t.json"));
  mixed.insert(mixed.begin() + 4, scratch.write("plain", "text"));
  const ProgramRun both = run_program(mixed);
  EXPECT_EQ(both.exit_code, 1);
  EXPECT_NE(both.err.find(scratch.path("plain")), std::string::npos) << both.err;
}

TEST(TokenizerCommand, RefusesToTrainFromAFileThatIsNotThere) {
  const ScratchFolder scratch;
  const ProgramRun run = run_program(
      {"tokenizer", "train", "--input", scratch.path("absent"), "--output", scratch.path("t.json")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find(scratch.path("absent") + ": cannot open: No such file"), std::string::npos)
      << run.err;
  EXPECT_FALSE(std::filesystem::exists(scratch.path("t.json")));
}

TEST(TokenizerCommand, RefusesATokenizerThatIsNotThere) {
  const ProgramRun run = encode("/no/such/tokenizer.json", "text");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("/no/such/tokenizer.json"), std::string::npos) << run.err;
}

struct BadIds {
  const char* json;
  const char* complaint;
};

class HostileIds : public testing::TestWithParam<BadIds> {};

TEST_P(HostileIds, AreRefusedWithTheFileAndTheValue) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("ids.json", GetParam().json);
  const ProgramRun run =
      run_program({"tokenizer", "decode", "--tokenizer", story_tokenizer(), "--input", file});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find(file), std::string::npos) << run.err;
  EXPECT_NE(run.err.find(GetParam().complaint), std::string::npos) << run.err;
}

INSTANTIATE_TEST_SUITE_P(TokenizerCommand, HostileIds,
                         testing::Values(BadIds{"", "not JSON"}, BadIds{"[1, 2", "not JSON: error at byte 6"},
                                         BadIds{"{}", "an object"}, BadIds{"[5, -3]", "[1] is -3"},
                                         BadIds{"[1.0]", "[0] is 1.0, not a token id"},
                                         BadIds{"[\"7\"]", "[0] is \"7\""}, BadIds{"[[1]]", "[0] is a list"},
                                         BadIds{"[null]", "null"}, BadIds{"[2147483648]", "2147483648"},
                                         BadIds{"[18446744073709551615]", "18446744073709551615"},
                                         BadIds{"[184467440737095516150]", "not a token id"},
                                         BadIds{"[1, 512]", "[1] is 512"}, BadIds{"[1] x", "not JSON"}));

TEST(TokenizerCommand, SurvivesDeeplyNestedJson) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("deep.json", std::string(1000000, '['));
  const ProgramRun run =
      run_program({"tokenizer", "decode", "--tokenizer", story_tokenizer(), "--input", file});
  EXPECT_EQ(run.exit_code, 1);
}

}  // namespace
}  // namespace nanochat::test
