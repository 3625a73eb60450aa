// int8 weights in whole models: close to the floats they stand for, and planned to the byte.
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "unit/io/scratch_folder.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

class Int8Model : public DeviceTest {};

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

TEST_P(Int8Model, LogitsPointWhereThoseOfFloatsDo) {
  for (const std::string& name : sizes(golden_cases(), {"v0_odd_vocab", "v1_chunked", "v1_beyond_context"})) {
    const std::string path = golden_path(name);
    const Json inputs = parse_json(read_file(path + "/inputs.json"), name);
    const auto tokens = inputs.at("forward_tokens")[0].get<std::vector<int32_t>>();
    const std::vector<float> exact = logits_of(load(path, device_), tokens);
    const auto model = load(path, device_, {WeightDtype::i8});
    EXPECT_EQ(model->weight_dtype(), WeightDtype::i8);
    EXPECT_EQ(model->weights().lm_head.dtype, DType::i8);
    EXPECT_EQ(model->weights().table_dtype, DType::bf16);
    const double similarity = cosine(logits_of(model, tokens), exact);
    EXPECT_GT(similarity, 0.999) << name;
    EXPECT_LT(similarity, 1.0) << name;
    RecordProperty(name, std::to_string(similarity));
  }
}

TEST_P(Int8Model, AStoryModelWithATiedHeadStillTellsItsStory) {
  const std::string path = model_path("stories260K");
  const std::vector<int32_t> prompt = {1, 403, 407};
  const auto exact = load(path, device_);
  KvCache cache(exact, 40);
  const std::vector<int32_t> story = greedy(cache, prompt, 30);
  std::vector<int32_t> text = prompt;
  text.insert(text.end(), story.begin(), story.end());
  const auto model = load(path, device_, {WeightDtype::i8});
  EXPECT_GT(cosine(logits_of(model, text), logits_of(exact, text)), 0.999);
}

NANOCHAT_ON_EVERY_DEVICE(Int8Model);

TEST(Int8Weights, TakeOneByteEachAndAScalePerOutput) {
  const ModelConfig config = nanochat_shape("v0-d2");
  const auto bytes_of = [&](WeightDtype dtype) {
    const auto model = Model::create_random(make_device(), config, 3, {dtype}, {});
    return model->plan().bytes_per_decoded_token -
           static_cast<uint64_t>(config.n_embd * 2);  // the table's row
  };
  // Every matrix of this shape is made of whole panels, so bf16 takes two bytes for each weight.
  const uint64_t n_weights = bytes_of(WeightDtype::bf16) / 2;
  const auto n_outputs = static_cast<uint64_t>(config.vocab_size + 2 * (4 + 4 + 1) * config.n_embd);
  EXPECT_EQ(bytes_of(WeightDtype::i8), n_weights + 4 * n_outputs);
}

TEST(Int8Weights, AreTheSameBytesOnEveryInstructionSet) {
  const ModelConfig config = nanochat_shape("v0-d1");
  const auto bytes_of = [&](const std::string& isa) {
    const auto model = Model::create_random(make_device(isa), config, 3, {WeightDtype::i8}, {});
    const PackedMatrix& matrix = model->weights().layers[0].mlp_in;
    const auto* bytes = static_cast<const char*>(matrix.data);
    return std::string(bytes, bytes + PackedMatrix::packed_bytes(matrix.dtype, matrix.n, matrix.k));
  };
  for (const std::string& isa : available_cpu_isas())
    EXPECT_TRUE(bytes_of(isa) == bytes_of("reference")) << isa;
}

TEST_P(Int8Model, HasTheSameNumbersOnEveryDevice) {
  const ModelConfig config = nanochat_shape("v0-d1");
  const auto rows_on = [&](const std::shared_ptr<Device>& device) {
    const auto model = Model::create_random(device, config, 3, {WeightDtype::i8}, {});
    const std::vector<int32_t> rows = {0, 63, 64, 255};
    return rows_of(*model, model->weights().layers[0].mlp_in, rows);
  };
  EXPECT_EQ(rows_on(device_), rows_on(make_device("reference")));
}

TEST(Int8Weights, RefuseMoreInputsThanTheirSumsCanHold) {
  ModelConfig config = nanochat_shape("v0-d1");
  config.mlp_hidden = 65537;
  try {
    Model::create_random(make_device(), config, 1, {WeightDtype::i8}, {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
    for (const char* part : {"transformer.h.0.mlp.c_proj.weight", "65537", "65536"})
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace nanochat::testing
