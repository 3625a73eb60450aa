// Every family against what PyTorch's transformers computes in double precision for each text alone.
#include "unit/encoder/encoder_fixture.h"

namespace nanochat::testing {
namespace {

constexpr double kRelative = 1e-5;

class EncoderGolden : public DeviceTest {
 protected:
  // Vectors of one way of asking against one tensor of the case.
  void expect(const std::string& name, const std::string& tensor, const VectorOptions& options,
              const EncoderOptions& loading = {}) {
    const Expected expected(name);
    const auto encoder = load_encoder(name, device_, loading);
    const auto width = static_cast<size_t>(text_width(*encoder, options));
    EXPECT_LE(relative_distance(encode(*encoder, expected.texts(), options), expected[tensor], width),
              kRelative)
        << name << ' ' << tensor;
  }
  void expect_states(const std::string& name, const std::string& tensor = "states", int64_t n_global = -1) {
    expect(name, tensor, {TextPooling::none, Normalization::none, n_global});
  }
  void expect_sentence(const std::string& name) { expect(name, "sentence", {}); }
};

TEST_P(EncoderGolden, BertGivesTheStatesOfTransformers) {
  expect_states("bert_mean");
  expect_states("bert_dense");
}

TEST_P(EncoderGolden, BertPoolsAsAsked) {
  expect_sentence("bert_mean");
  expect("bert_mean", "mean", {TextPooling::mean, Normalization::none});
  expect("bert_mean", "max", {TextPooling::max, Normalization::none});
  expect("bert_mean", "pooler", {TextPooling::pooler, Normalization::none},
         {WeightDtype::as_stored, PoolerWeights::present});
}

TEST_P(EncoderGolden, ADenseLayerFollowsTheFirstToken) { expect_sentence("bert_dense"); }

TEST_P(EncoderGolden, RobertaCountsPositionsFromThePaddingToken) {
  expect("roberta", "states", {TextPooling::none}, {WeightDtype::f32});
  expect("roberta", "sentence", {}, {WeightDtype::f32});
}

TEST_P(EncoderGolden, SpladeWeighsTheVocabulary) {
  for (const char* name : {"splade", "splade_untied"}) {
    const Expected expected(name);
    const auto encoder = load_encoder(name, device_);
    const auto width = static_cast<size_t>(text_width(*encoder, {}));
    EXPECT_LE(relative_distance(encode_dense_sparse(*encoder, expected.texts()), expected["sentence"], width),
              kRelative)
        << name;
  }
}

TEST_P(EncoderGolden, ColbertGivesAVectorForEachTokenAndMasksAreNotSeen) {
  expect("colbert", "token_vectors", {});
}

TEST_P(EncoderGolden, LongformerSeesWindowsAndGlobalTokens) {
  expect_states("longformer", "states_0", 0);
  expect_states("longformer", "states_1", 1);
  expect_states("longformer", "states_2", 2);
  expect_states("longformer", "states_1");
}

TEST_P(EncoderGolden, T5HasRelativePositions) {
  expect_states("t5");
  expect_states("t5_gated");
}

TEST_P(EncoderGolden, CodeT5ProjectsTheFirstToken) { expect_sentence("t5"); }

TEST_P(EncoderGolden, ClipEncodesTexts) {
  for (const char* name : {"clip", "clip_eos"}) {
    expect_states(name);
    expect_sentence(name);
    expect(name, "normalized", {TextPooling::as_configured, Normalization::unit});
  }
}

TEST_P(EncoderGolden, ClipEncodesImages) {
  for (const char* name : {"clip", "clip_eos"}) {
    const Expected expected(name);
    const auto encoder = load_encoder(name, device_);
    const std::vector<float> vectors = encode_pictures(*encoder, expected["pixels"], 2);
    EXPECT_LE(relative_distance(vectors, expected["image"], static_cast<size_t>(image_width(*encoder))),
              kRelative)
        << name;
  }
}

NANOCHAT_ON_EVERY_DEVICE(EncoderGolden);

}  // namespace
}  // namespace nanochat::testing
