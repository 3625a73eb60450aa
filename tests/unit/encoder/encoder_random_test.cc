// Directories with random weights: what is written is what create_random() makes, of every family.
#include "encoder/encoder_random.h"

#include "unit/encoder/encoder_fixture.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

using testing::encoder_path;
using testing::make_device;

Json config_of(const std::string& name) {
  const std::string path = encoder_path(name) + "/config.json";
  return parse_json(read_file(path), path);
}

TEST(RandomEncoderFolder, IsTheOneOfTheSameSeed) {
  for (const char* name :
       {"bert_mean", "roberta", "splade", "colbert", "longformer", "t5", "t5_gated", "clip"}) {
    const ScratchFolder folder;
    const Json config = config_of(name);
    write_random_encoder(folder.path(), config, 7, {});
    const auto device = make_device();
    const auto loaded = Encoder::load(device, folder.path(), {}, {});
    const auto made = Encoder::create_random(device, parse_encoder_config(config, name), 7, {}, {});
    EXPECT_EQ(loaded->checksum(), made->checksum()) << name;
    EXPECT_EQ(loaded->plan().weight_bytes, made->plan().weight_bytes) << name;
    EXPECT_EQ(loaded->config().head, made->config().head) << name;
  }
}

TEST(RandomEncoderFolder, IsAnotherOneOfAnotherSeed) {
  const ScratchFolder one, other;
  write_random_encoder(one.path(), config_of("bert_mean"), 1, {});
  write_random_encoder(other.path(), config_of("bert_mean"), 2, {});
  EXPECT_NE(read_file(one.file("model.safetensors")), read_file(other.file("model.safetensors")));
  EXPECT_EQ(read_file(one.file("config.json")), read_file(other.file("config.json")));
}

TEST(RandomEncoderFolder, WritesNothingOfAConfigurationThatIsNone) {
  const ScratchFolder folder;
  const std::string target = folder.file("model");
  EXPECT_THROW(write_random_encoder(target, {{"model_type", "bert"}}, 1, {}), Error);
  EXPECT_THROW(write_random_encoder(target, {{"model_type", "mamba"}}, 1, {}), Error);
  EXPECT_FALSE(directory_exists(target));
}

TEST(RandomEncoderFolder, StopsWhenItIsCancelled) {
  const ScratchFolder folder;
  CancelToken cancel;
  cancel.request();
  try {
    write_random_encoder(folder.path(), config_of("bert_mean"), 1, {&cancel, {}});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::cancelled);
  }
  EXPECT_FALSE(file_exists(folder.file("model.safetensors")));
}

}  // namespace
}  // namespace nanochat
