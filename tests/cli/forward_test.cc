// nanochat forward, held against the reference's logits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

using nlohmann::json;

struct Tensor {
  std::vector<size_t> shape;
  std::vector<float> values;
};

// An F32 tensor of a safetensors file, read here without the library.
Tensor read_tensor(const std::string& path, const std::string& name) {
  const std::string bytes = read_file(path);
  uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) return {};
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  EXPECT_EQ(header_size % 8, 0U);
  const json entry = json::parse(bytes.substr(sizeof header_size, header_size)).at(name);
  EXPECT_EQ(entry.at("dtype"), "F32");
  const auto begin = entry.at("data_offsets").at(0).get<size_t>();
  const auto end = entry.at("data_offsets").at(1).get<size_t>();
  const size_t data = sizeof header_size + header_size;
  EXPECT_LE(data + end, bytes.size());
  Tensor tensor{entry.at("shape"), std::vector<float>((end - begin) / sizeof(float))};
  std::memcpy(tensor.values.data(), bytes.data() + data + begin, end - begin);
  return tensor;
}

ProgramRun forward(const std::string& model, const std::string& tokens, const std::string& out) {
  return run_program({"forward", "--model", model, "--tokens", tokens, "--out", out});
}

class GoldenModel : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, GetsTheReferencesLogits) {
  const ScratchFolder scratch;
  const std::string golden = test_data(std::string("golden/model/") + GetParam());
  std::filesystem::create_directory(scratch.path("model"));
  for (const char* name : {"config.json", "weights.safetensors"}) {
    std::filesystem::copy(golden + "/" + name, scratch.path(std::string("model/") + name));
  }
  const json inputs = json::parse(read_file(golden + "/inputs.json"));
  const std::string tokens = scratch.write("tokens.json", inputs.at("forward_tokens").dump());
  const ProgramRun run = forward(scratch.path("model"), tokens, scratch.path("logits.safetensors"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "");
  const Tensor expected = read_tensor(golden + "/expected.safetensors", "forward.logits");
  const Tensor logits = read_tensor(scratch.path("logits.safetensors"), "logits");
  ASSERT_EQ(logits.shape, expected.shape);
  for (size_t i = 0; i < expected.values.size(); ++i) {
    ASSERT_NEAR(logits.values[i], expected.values[i], 1e-4) << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Forward, GoldenModel,
                         testing::Values("v0_gqa_4_2", "v1_gqa_4_2", "v1_ve_even_layers"));

TEST(Forward, PredictsTheReferencesGreedyStory) {
  const ScratchFolder scratch;
  const std::vector<int> ids = golden_story().ids;
  json row = json::array({1});
  for (const int id : ids) row.push_back(id);
  const std::string out = scratch.path("logits.safetensors");
  const ProgramRun run =
      forward(story_model(), scratch.write("tokens.json", json::array({row, row}).dump()), out);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Tensor logits = read_tensor(out, "logits");
  ASSERT_EQ(logits.shape, (std::vector<size_t>{2, ids.size() + 1, 512}));
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto begin = logits.values.begin() + static_cast<std::ptrdiff_t>(i * 512);
    ASSERT_EQ(std::max_element(begin, begin + 512) - begin, ids[i]) << "position " << i;
  }
  const size_t half = logits.values.size() / 2;
  EXPECT_EQ(std::memcmp(logits.values.data(), logits.values.data() + half, half * sizeof(float)), 0);
}

TEST(Forward, LeavesTheOldFileWhenItFails) {
  const ScratchFolder scratch;
  const std::string out = scratch.write("logits.safetensors", "precious");
  const ProgramRun run = forward(story_model(), scratch.write("tokens.json", "[[1, 600]]"), out);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("tokens.json: list 0[1] is 600, the model's ids end at 511"), std::string::npos)
      << run.err;
  EXPECT_EQ(read_file(out), "precious");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.folder()), {}), 2)
      << "temporary files left";
}

TEST(Forward, KeepsALinkThatLeadsToTheOutput) {
  const ScratchFolder scratch;
  const std::string target = scratch.write("target", "old");
  std::filesystem::create_symlink(target, scratch.path("link"));
  EXPECT_EQ(forward(story_model(), scratch.write("tokens.json", "[[1]]"), scratch.path("link")).exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(scratch.path("link")));
  EXPECT_EQ(read_tensor(target, "logits").shape, (std::vector<size_t>{1, 1, 512}));
}

TEST(Forward, WritesIntoADeviceInsteadOfReplacingIt) {
  const ScratchFolder scratch;
  const std::string tokens = scratch.write("tokens.json", "[[1]]");
  EXPECT_EQ(forward(story_model(), tokens, "/dev/null").exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_EQ(forward(story_model(), tokens, "/dev/full").exit_code, 2);
}

TEST(Forward, SaysWhereItCannotWrite) {
  const ScratchFolder scratch;
  const ProgramRun run = forward(story_model(), scratch.write("tokens.json", "[[1]]"), "/no/such/folder/out");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.err.find("/no/such/folder/out"), std::string::npos) << run.err;
}

struct BadRows {
  const char* json;
  const char* complaint;
};

class HostileRows : public testing::TestWithParam<BadRows> {};

TEST_P(HostileRows, AreRefusedWithTheFileAndTheValue) {
  const ScratchFolder scratch;
  const std::string tokens = scratch.write("tokens.json", GetParam().json);
  const ProgramRun run = forward(story_model(), tokens, scratch.path("out"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find(tokens), std::string::npos) << run.err;
  EXPECT_NE(run.err.find(GetParam().complaint), std::string::npos) << run.err;
  EXPECT_FALSE(std::filesystem::exists(scratch.path("out")));
}

INSTANTIATE_TEST_SUITE_P(Forward, HostileRows,
                         testing::Values(BadRows{"[]", "no token list"}, BadRows{"[[]]", "list 0 is empty"},
                                         BadRows{"[1, 2]", "list 0 is 1, not a list"},
                                         BadRows{"[[1, 2], [3]]", "list 1 has 1 tokens, list 0 has 2"},
                                         BadRows{"[[1, -2]]", "list 0[1] is -2"}, BadRows{"[[1.5]]", "1.5"},
                                         BadRows{"{\"a\": 1}", "an object"}, BadRows{"[[1]", "not JSON"},
                                         BadRows{"[[99999999999]]", "99999999999"}));

}  // namespace
}  // namespace nanochat::test
