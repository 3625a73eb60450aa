// nanochat embed and nanochat bench embed.
#include <cmath>
#include <cstring>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

std::string bert() { return test_data("models/encoder_bert_mean"); }
std::string words() { return bert() + "/tokenizer.json"; }

std::vector<json> json_lines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

double length(const json& vector) {
  double squares = 0;
  for (const double value : vector) squares += value * value;
  return std::sqrt(squares);
}

TEST(Embed, GivesAVectorForEachLineOfStandardInput) {
  const ProgramRun run = run_program({"embed", "--model", bert(), "--json"}, "one line\n\nand a third");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<json> lines = json_lines(run.out);
  ASSERT_EQ(lines.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lines[i].at("input"), i);
    EXPECT_EQ(lines[i].at("vectors").size(), 1U);
    EXPECT_EQ(lines[i].at("vectors")[0].size(), 36U);
    EXPECT_NEAR(length(lines[i].at("vectors")[0]), 1.0, 1e-6);
  }
  EXPECT_EQ(lines[1].at("tokens"), 2);  // [CLS] [SEP]
}

TEST(Embed, WritesTheSameNumbersInEveryForm) {
  const ScratchFolder folder;
  const std::string file = folder.write("text", "first\nsecond\n");
  const ProgramRun as_json = run_program({"embed", "--model", bert(), "--json", file});
  const ProgramRun as_numbers = run_program({"embed", "--model", bert(), file});
  const ProgramRun as_array =
      run_program({"embed", "--model", bert(), "--npy", "--out", folder.path("vectors.npy"), file});
  ASSERT_EQ(as_array.exit_code, 0) << as_array.err;
  EXPECT_EQ(as_array.out, "");
  const std::string array = read_file(folder.path("vectors.npy"));
  ASSERT_EQ(array.substr(0, 6), "\x93NUMPY");
  EXPECT_NE(array.find("'shape': (2, 36)"), std::string::npos);
  ASSERT_EQ((array.size() - 2 * 36 * sizeof(float)) % 64, 0U);
  std::istringstream numbers(as_numbers.out);
  const char* next = array.data() + array.size() - 2 * 36 * sizeof(float);
  for (const json& line : json_lines(as_json.out)) {
    for (const float value : line.at("vectors")[0]) {
      float shown = 0, stored = 0;
      numbers >> shown;
      std::memcpy(&stored, next, sizeof stored);
      next += sizeof stored;
      EXPECT_EQ(shown, value);
      EXPECT_EQ(stored, value);
    }
  }
}

TEST(Embed, PutsThePrefixBeforeEachText) {
  const std::vector<std::string> options = {"embed", "--model", bert()};
  auto prefixed = options;
  prefixed.insert(prefixed.end(), {"--prefix", "query: "});
  EXPECT_EQ(run_program(prefixed, "cats\n").out, run_program(options, "query: cats\n").out);
}

TEST(Embed, ShowsSparseWordsAndTheirWeights) {
  const std::string splade = test_data("models/encoder_splade");
  const ProgramRun run =
      run_program({"embed", "--model", splade, "--tokenizer", words(), "--sparse", "--json"}, "some words\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json line = json_lines(run.out).at(0);
  EXPECT_EQ(line.at("words").size(), line.at("weights").size());
  for (const double weight : line.at("weights")) EXPECT_GT(weight, 0);
  const ProgramRun dense = run_program({"embed", "--model", splade, "--tokenizer", words()}, "some words\n");
  EXPECT_EQ(dense.exit_code, 2);
  EXPECT_NE(dense.err.find("sparse"), std::string::npos) << dense.err;
}

TEST(Embed, GivesARowForEachTokenOfALateInteraction) {
  const std::string colbert = test_data("models/encoder_colbert");
  const ProgramRun run = run_program(
      {"embed", "--model", colbert, "--tokenizer", words(), "--role", "query", "--json"}, "a query\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(json_lines(run.out).at(0).at("vectors").size(), 32U);
}

TEST(Embed, ReadsPicturesOfBothKinds) {
  const std::string clip = test_data("models/encoder_clip");
  const ProgramRun run =
      run_program({"embed", "--model", clip, "--json", "--images", test_data("images/stripes.png"),
                   test_data("images/stripes.jpg"), test_data("images/clear.png")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<json> lines = json_lines(run.out);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].at("input"), test_data("images/stripes.png"));
  EXPECT_EQ(lines[0].at("vectors")[0].size(), 20U);
  // A good JPEG of a picture is nearly the picture; transparency leaves the colours alone.
  double dot = 0;
  for (size_t i = 0; i < 20; ++i)
    dot += lines[0].at("vectors")[0][i].get<double>() * lines[1].at("vectors")[0][i].get<double>();
  EXPECT_GT(dot / length(lines[0].at("vectors")[0]) / length(lines[1].at("vectors")[0]), 0.99);
  EXPECT_EQ(lines[0].at("vectors"), lines[2].at("vectors"));
}

TEST(Embed, SaysWhatIsWrong) {
  const ScratchFolder folder;
  const auto fails = [](const std::vector<std::string>& arguments, const std::string& input,
                        const char* word) {
    const ProgramRun run = run_program(arguments, input);
    EXPECT_NE(run.exit_code, 0);
    EXPECT_EQ(run.out, "");
    EXPECT_NE(run.err.find(word), std::string::npos) << run.err;
  };
  fails({"embed"}, "", "--model");
  fails({"embed", "--model", folder.path("none")}, "", "none");
  fails({"embed", "--model", bert(), "--pooling", "most"}, "", "most");
  fails({"embed", "--model", bert(), "--json", "--npy"}, "", "--npy");
  fails({"embed", "--model", bert(), "--max-tokens", "4"}, "a\na text of many letters\n",
        "standard input, line 2:");
  fails({"embed", "--model", bert(), "--images", folder.write("x.png", "\x89PNG\r\n\x1a\nrubbish")}, "",
        "x.png");
  fails({"embed", "--model", test_data("models/encoder_clip"), "--images",
         folder.write("y.jpg", "\xff\xd8\xff rubbish")},
        "", "y.jpg: no valid JPEG");
  fails({"embed", "--model", test_data("models/encoder_clip"), "--images", folder.write("z.gif", "GIF89a")},
        "", "neither PNG nor JPEG");
}

TEST(BenchEmbed, ReportsSpeedAndShares) {
  const ProgramRun run = run_program(
      {"bench", "embed", "--model", bert(), "--texts", "2", "--tokens", "16", "--repeats", "1", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json facts = json::parse(run.out);
  EXPECT_EQ(facts.at("bench"), "embed");
  EXPECT_EQ(facts.at("texts"), 2);
  for (const char* name :
       {"tokens_per_second", "texts_per_second", "short_text_ms", "call_overhead_us", "arithmetic_share"}) {
    EXPECT_GT(facts.at(name).get<double>(), 0) << name;
  }
}

}  // namespace
}  // namespace nanochat::test
