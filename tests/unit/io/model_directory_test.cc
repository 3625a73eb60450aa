#include "io/model_directory.h"

#include <cstring>
#include <functional>

#include <gtest/gtest.h>

#include "base/error.h"
#include "unit/io/safetensors_bytes.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

// A safetensors file whose tensors are single bytes: 0, 1, 2 ... in the order of `names`.
std::string shard(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) header += ',';
    header += "\"" + names[i] + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
  }
  return safetensors_bytes(header + "}", names.size());
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& weight_map) {
  std::string out;
  for (const auto& [tensor, file] : weight_map)
    out += (out.empty() ? "\"" : ",\"") + tensor + "\":\"" + file + "\"";
  return R"({"metadata":{"total_size":3},"weight_map":{)" + out + "}}";
}

constexpr const char* kIndex = "model.safetensors.index.json";

// Two shards: a and c in the first, b in the second.
void write_sharded_model(const ScratchFolder& folder) {
  folder.write("config.json", R"({"model_type":"test"})");
  folder.write("one.safetensors", shard({"a", "c"}));
  folder.write("two.safetensors", shard({"b"}));
  folder.write(kIndex,
               index_of({{"a", "one.safetensors"}, {"b", "two.safetensors"}, {"c", "one.safetensors"}}));
}

void expect_refusal(const std::string& path, Status status, const std::vector<std::string>& says) {
  try {
    const ModelDirectory directory(path);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(status)) << error.message();
    for (const std::string& piece : says) {
      EXPECT_NE(error.message().find(piece), std::string::npos)
          << "wanted: " << piece << "\ngot: " << error.message();
    }
  }
}

int byte_of(const ModelDirectory& directory, std::string_view name) {
  return static_cast<const unsigned char*>(directory.find(name).view().data)[0];
}

TEST(ModelDirectory, OpensAModelInOneFile) {
  const std::string path = std::string(NANOCHAT_TEST_DATA) + "/models/stories260K";
  const ModelDirectory directory(path);
  EXPECT_EQ(directory.path(), path);
  EXPECT_EQ(directory.config_path(), path + "/config.json");
  EXPECT_EQ(directory.config().at("hidden_size"), 64);
  EXPECT_EQ(directory.names().size(), 47U);
  EXPECT_TRUE(directory.contains("model.norm.weight"));
  EXPECT_FALSE(directory.contains("lm_head.weight"));
  EXPECT_EQ(directory.find("model.embed_tokens.weight").info->shape, (Shape{512, 64}));
  EXPECT_EQ(directory.weight_bytes(), 4U * 260'032U) << "the tied model has 260,032 parameters";
  EXPECT_EQ(directory.tokenizer_path(), path + "/tokenizer.json");
}

TEST(ModelDirectory, OpensShardsThroughTheirIndex) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  const ModelDirectory directory(folder.path());
  EXPECT_EQ(directory.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(directory.weight_bytes(), 3U);
  EXPECT_EQ(byte_of(directory, "a"), 0);
  EXPECT_EQ(byte_of(directory, "b"), 0);
  EXPECT_EQ(byte_of(directory, "c"), 1);
  EXPECT_EQ(directory.find("b").file->path(), folder.file("two.safetensors"));
  EXPECT_EQ(directory.tokenizer_path(), "");
}

TEST(ModelDirectory, PrefersTheIndexThenModelThenWeights) {
  const ScratchFolder folder;
  folder.write("config.json", "{}");
  folder.write("weights.safetensors", shard({"w"}));
  EXPECT_TRUE(ModelDirectory(folder.path()).contains("w"));
  folder.write("model.safetensors", shard({"m"}));
  EXPECT_EQ(ModelDirectory(folder.path()).names(), std::vector<std::string>{"m"});
  write_sharded_model(folder);
  EXPECT_EQ(ModelDirectory(folder.path()).names(), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(ModelDirectory, FollowsLinks) {
  const ScratchFolder store, folder;
  store.write("blob1", shard({"a"}));
  store.write("blob2", "{}");
  std::filesystem::create_symlink(store.file("blob1"), folder.file("model.safetensors"));
  std::filesystem::create_symlink(store.file("blob2"), folder.file("config.json"));
  EXPECT_TRUE(ModelDirectory(folder.path()).contains("a"));
}

TEST(ModelDirectory, NamesTheMissingTensorAndTheDirectory) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  const ModelDirectory directory(folder.path());
  try {
    directory.find("lm_head.weight");
    FAIL() << "found";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::format_invalid));
    EXPECT_NE(error.message().find("'lm_head.weight'"), std::string::npos);
    EXPECT_NE(error.message().find(folder.path()), std::string::npos);
  }
}

TEST(ModelDirectory, RefusesAPathThatIsNotThere) {
  const ScratchFolder folder;
  expect_refusal(folder.file("absent"), Status::file_not_found,
                 {folder.file("absent"), "no such model directory"});
  expect_refusal("", Status::file_not_found, {"no such model directory"});
}

TEST(ModelDirectory, RefusesAPathThatIsAFile) {
  const ScratchFolder folder;
  const std::string path = folder.write("model.safetensors", shard({"a"}));
  expect_refusal(path, Status::invalid_argument, {path, "is a file"});
}

TEST(ModelDirectory, RefusesADirectoryWithoutConfig) {
  const ScratchFolder folder;
  folder.write("model.safetensors", shard({"a"}));
  expect_refusal(folder.path(), Status::file_not_found, {folder.file("config.json")});
}

TEST(ModelDirectory, RefusesADirectoryWithoutWeights) {
  const ScratchFolder folder;
  folder.write("config.json", "{}");
  folder.write("pytorch_model.bin", "x");
  expect_refusal(folder.path(), Status::file_not_found,
                 {folder.path(), "no weights", kIndex, "model.safetensors", "weights.safetensors"});
}

TEST(ModelDirectory, RefusesAConfigThatIsNoObject) {
  const ScratchFolder folder;
  folder.write("model.safetensors", shard({"a"}));
  for (const char* text : {"", "[]", "7", "null", "\"{}\"", "{", "{} {}"}) {
    folder.write("config.json", text);
    expect_refusal(folder.path(), Status::format_invalid, {folder.file("config.json")});
  }
}

TEST(ModelDirectory, RefusesAConfigThatIsADirectory) {
  const ScratchFolder folder;
  folder.write("model.safetensors", shard({"a"}));
  std::filesystem::create_directory(folder.file("config.json"));
  expect_refusal(folder.path(), Status::file_not_found, {folder.file("config.json")});
}

TEST(ModelDirectory, RefusesCorruptWeights) {
  const ScratchFolder folder;
  folder.write("config.json", "{}");
  folder.write("model.safetensors", "junk");
  expect_refusal(folder.path(), Status::format_invalid, {folder.file("model.safetensors"), "4 bytes"});
}

TEST(ModelDirectory, RefusesAnIndexOfAnotherForm) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  for (const char* text : {"", "[]", "{}", "7", R"({"weight_map":[]})", R"({"weight_map":null})",
                           R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":["one.safetensors"]}})"}) {
    folder.write(kIndex, text);
    expect_refusal(folder.path(), Status::format_invalid, {folder.file(kIndex)});
  }
}

TEST(ModelDirectory, RefusesShardNamesThatReachOutside) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  const std::string names[] = {"../one.safetensors",
                               "/etc/passwd",
                               "sub/one.safetensors",
                               "./one.safetensors",
                               "..",
                               ".",
                               "",
                               R"(..\\one.safetensors)",
                               R"(one.safetensors\u0000)"};
  for (const std::string& name : names) {
    folder.write(kIndex, index_of({{"a", name}}));
    expect_refusal(folder.path(), Status::format_invalid,
                   {folder.file(kIndex), "'a'", "not a plain file name"});
  }
}

TEST(ModelDirectory, RefusesAMissingShard) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  std::filesystem::remove(folder.file("two.safetensors"));
  expect_refusal(folder.path(), Status::file_not_found, {folder.file(kIndex), "'b'", "'two.safetensors'"});
}

TEST(ModelDirectory, RefusesATensorInTwoShards) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  folder.write("two.safetensors", shard({"b", "a"}));
  expect_refusal(folder.path(), Status::format_invalid,
                 {folder.file("two.safetensors"), "'a'", "'one.safetensors'"});
}

TEST(ModelDirectory, RefusesATensorThatItsShardLacks) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  folder.write("one.safetensors", shard({"a"}));
  expect_refusal(folder.path(), Status::format_invalid, {folder.file(kIndex), "'c'", "'one.safetensors'"});
}

TEST(ModelDirectory, RefusesATensorThatTheIndexLacks) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  folder.write("two.safetensors", shard({"b", "d"}));
  expect_refusal(folder.path(), Status::format_invalid, {folder.file("two.safetensors"), "'d'", kIndex});
}

TEST(ModelDirectory, RefusesATensorInAnotherShardThanTheIndexNames) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  folder.write(kIndex,
               index_of({{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}}));
  expect_refusal(folder.path(), Status::format_invalid,
                 {folder.file(kIndex), "'b'", "'one.safetensors'", "'two.safetensors'"});
}

TEST(ModelDirectory, RefusesATensorListedTwice) {
  const ScratchFolder folder;
  write_sharded_model(folder);
  folder.write(kIndex, index_of({{"a", "one.safetensors"}, {"a", "two.safetensors"}}));
  expect_refusal(folder.path(), Status::format_invalid, {folder.file(kIndex), "'a'", "twice"});
}

}  // namespace
}  // namespace nanochat
