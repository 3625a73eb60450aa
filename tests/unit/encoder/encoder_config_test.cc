// config.json and modules.json: what is read, and what is refused with which words.
#include <filesystem>

#include "base/json.h"
#include "unit/encoder/encoder_fixture.h"
#include "unit/io/scratch_folder.h"

namespace nanochat::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBert = R"({"model_type": "bert", "vocab_size": 50, "hidden_size": 12,
  "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 32})";
constexpr const char* kT5 = R"({"model_type": "t5", "vocab_size": 50, "d_model": 12, "d_kv": 4, "d_ff": 20,
  "num_layers": 2, "num_heads": 3})";

EncoderConfig parse(const char* text, const std::string& changes = "{}") {
  Json document = parse_json(text, "config.json");
  const Json edits = parse_json(changes, "edits");
  for (const JsonMember& member : edits.items()) document[member.key] = member.value;
  return parse_encoder_config(document, "config.json");
}

std::string refusal(const char* text, const std::string& changes) {
  try {
    parse(text, changes);
  } catch (const Error& error) {
    return error.message();
  }
  return "accepted";
}

TEST(EncoderConfig, ReadsBertWithItsDefaults) {
  const EncoderConfig config = parse(kBert);
  EXPECT_EQ(config.architecture, "bert");
  EXPECT_EQ(config.text->head_dim, 4);
  EXPECT_EQ(config.text->max_rows, 32);
  EXPECT_EQ(config.text->n_types, 2);
  EXPECT_EQ(config.text->norm_eps, 1e-12F);
  EXPECT_EQ(config.text->activation, RowActivation::gelu);
  EXPECT_EQ(config.pooling, TextPooling::mean);
  EXPECT_FALSE(config.is_normalized);
  EXPECT_FALSE(config.vision.has_value());
}

TEST(EncoderConfig, TakesTheHeadFromTheArchitecture) {
  EXPECT_EQ(parse(kBert, R"({"architectures": ["BertForMaskedLM"]})").head, EncoderHead::sparse);
  EXPECT_EQ(parse(kBert, R"({"architectures": ["HF_ColBERT"]})").head, EncoderHead::token_projection);
  EXPECT_EQ(parse(kBert, R"({"architectures": ["BertModel"]})").head, EncoderHead::none);
}

TEST(EncoderConfig, CountsRobertasPositionsFromItsPaddingToken) {
  const EncoderConfig config = parse(kBert, R"({"model_type": "xlm-roberta", "pad_token_id": 1})");
  EXPECT_EQ(config.text->first_position, 2);
  EXPECT_EQ(config.text->max_rows, 30);
  EXPECT_EQ(config.max_seq_length, 30);
  EXPECT_EQ(refusal(kBert, R"({"model_type": "roberta", "pad_token_id": 31})"),
            "config.json: max_position_embeddings is 32, expected more than pad_token_id + 1 = 32");
}

TEST(EncoderConfig, HalvesLongformersWindows) {
  EXPECT_EQ(parse(kBert, R"({"model_type": "longformer", "attention_window": [4, 6]})").text->window,
            (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(parse(kBert, R"({"model_type": "longformer", "attention_window": 8})").text->window,
            (std::vector<int64_t>{4, 4}));
  EXPECT_EQ(refusal(kBert, R"({"model_type": "longformer", "attention_window": [4, 5]})"),
            "config.json: attention_window is [4,5], expected even numbers");
  EXPECT_EQ(refusal(kBert, R"({"model_type": "longformer", "attention_window": [4, 6, 8]})"),
            "config.json: attention_window is [4,6,8], expected one number or 2, one for each layer");
}

TEST(EncoderConfig, ReadsT5sFeedForward) {
  EXPECT_EQ(parse(kT5).text->activation, RowActivation::relu);
  EXPECT_FALSE(parse(kT5).text->is_gated);
  const EncoderConfig gated = parse(kT5, R"({"feed_forward_proj": "gated-gelu"})");
  EXPECT_EQ(gated.text->activation, RowActivation::gelu_tanh);
  EXPECT_TRUE(gated.text->is_gated);
  EXPECT_EQ(parse(kT5, R"({"feed_forward_proj": "gelu"})").text->activation, RowActivation::gelu);
  EXPECT_EQ(
      refusal(kT5, R"({"feed_forward_proj": "gated-mish"})"),
      R"(config.json: feed_forward_proj is "gated-mish", expected relu, gelu, gated-gelu, gated-silu or gated-relu)");
}

TEST(EncoderConfig, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(refusal(kBert, R"({"model_type": "deberta-v2"})"),
            "config.json: model_type is 'deberta-v2', expected bert, roberta, xlm-roberta, camembert, "
            "longformer, t5, "
            "codet5p_embedding or clip");
  EXPECT_EQ(refusal(kBert, R"({"position_embedding_type": "relative_key"})"),
            R"(config.json: position_embedding_type is "relative_key", expected "absolute")");
  EXPECT_EQ(refusal(kBert, R"({"is_decoder": true})"), "config.json: is_decoder is true, expected false");
  EXPECT_EQ(refusal(kBert, R"({"hidden_act": "mish"})"),
            R"(config.json: hidden_act is "mish", expected gelu, gelu_new, quick_gelu, relu, silu or tanh)");
  EXPECT_EQ(refusal(kBert, R"({"hidden_size": 13})"),
            "config.json: hidden_size is 13, expected a multiple of num_attention_heads = 3");
  EXPECT_EQ(refusal(kBert, R"({"hidden_size": null})"),
            "config.json: hidden_size is missing, expected an integer from 1 to 1048576");
  EXPECT_EQ(refusal(kBert, R"({"vocab_size": -1})"),
            "config.json: vocab_size is -1, expected an integer from 1 to 16777216");
  EXPECT_EQ(refusal(kT5, R"({"relative_attention_max_distance": 3})"),
            "config.json: relative_attention_max_distance is 3, expected an integer from 9 to 1048576");
}

TEST(EncoderConfig, RefusesOddTowersOfClip) {
  const Json good = parse_json(read_file(encoder_path("clip") + "/config.json"), "config.json");
  const auto with = [&](const char* tower, const char* key, const Json& value) {
    Json document = good;
    document[tower][key] = value;
    try {
      parse_encoder_config(document, "config.json");
    } catch (const Error& error) {
      return error.message();
    }
    return std::string("accepted");
  };
  EXPECT_EQ(with("vision_config", "patch_size", 25),
            "config.json: vision_config.patch_size is 25, expected an integer from 1 to 24");
  EXPECT_EQ(with("vision_config", "image_size", 0),
            "config.json: vision_config.image_size is 0, expected an integer from 1 to 16384");
  EXPECT_EQ(with("vision_config", "num_channels", 4),
            "config.json: vision_config.num_channels is 4, expected 3");
  EXPECT_EQ(with("text_config", "eos_token_id", 2), "accepted");
}

// --- modules.json ------------------------------------------------------------------------------------------

// A copy of a case whose files are then changed.
class ModuleFiles : public ::testing::Test {
 protected:
  void copy(const std::string& name) {
    fs::copy(encoder_path(name), folder_.path(),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }
  std::string load_error() {
    std::string message = "accepted";
    try {
      Encoder::plan(folder_.path(), {});
      config_ = Encoder::load(make_device(), folder_.path(), {}, {})->config();
    } catch (const Error& error) {
      message = error.cause() == nullptr ? error.message() : error.cause()->message();
      if (const size_t at = message.find(folder_.path()); at == 0)
        message.erase(0, folder_.path().size() + 1);
    }
    return message;
  }

  ScratchFolder folder_;
  EncoderConfig config_;
};

TEST_F(ModuleFiles, SayPoolingNormalisationAndLength) {
  copy("bert_mean");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.pooling, TextPooling::mean);
  EXPECT_TRUE(config_.is_normalized);
  EXPECT_EQ(config_.max_seq_length, 128);
  folder_.write("1_Pooling/config.json", R"({"pooling_mode_lasttoken": true})");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.pooling, TextPooling::last);
  folder_.write("1_Pooling/config.json", R"({"pooling_mode": "cls"})");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.pooling, TextPooling::cls);
}

TEST_F(ModuleFiles, MayKeepTheTransformerInItsOwnFolder) {
  const fs::path root = folder_.path();
  fs::copy(encoder_path("roberta"), root / "0_Transformer");
  fs::create_directory(root / "1_Pooling");
  folder_.write("1_Pooling/config.json", R"({"pooling_mode_cls_token": true})");
  folder_.write("modules.json",
                R"([{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.pooling, TextPooling::cls);
  EXPECT_FALSE(config_.is_normalized);
}

TEST_F(ModuleFiles, MayPoolAMaskedLanguageModelDensely) {
  copy("splade");
  fs::create_directory(fs::path(folder_.path()) / "1_Pooling");
  folder_.write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true})");
  folder_.write("modules.json", R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.head, EncoderHead::none);
  folder_.write("1_Pooling/config.json",
                R"({"pooling_strategy": "max", "activation_function": "log1p_relu"})");
  folder_.write("modules.json",
                R"([{"type": "sentence_transformers.sparse_encoder.models.MLMTransformer", "path": ""},
    {"type": "sentence_transformers.sparse_encoder.models.SpladePooling", "path": "1_Pooling"}])");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.head, EncoderHead::sparse);
  EXPECT_EQ(config_.n_sparse_logs, 2);
}

TEST_F(ModuleFiles, MayProjectEachToken) {
  copy("bert_dense");
  folder_.write("2_Dense/config.json", R"({"in_features": 40, "out_features": 24, "bias": false,
    "activation_function": "torch.nn.modules.linear.Identity"})");
  folder_.write("modules.json", R"([{"type": "pylate.models.Transformer", "path": ""},
    {"type": "pylate.models.Dense.Dense", "path": "2_Dense"}])");
  EXPECT_EQ(load_error(), "accepted");
  EXPECT_EQ(config_.head, EncoderHead::token_projection);
  EXPECT_EQ(config_.head_width, 24);
  EXPECT_EQ(config_.pooling, TextPooling::none);
  EXPECT_TRUE(config_.is_normalized);
}

TEST_F(ModuleFiles, AreRefusedByNameAndValue) {
  copy("bert_dense");
  const auto with = [&](const std::string& file, const std::string& text) {
    const std::string before = file_bytes(folder_.file(file));
    folder_.write(file, text);
    const std::string message = load_error();
    folder_.write(file, before);
    return message;
  };
  EXPECT_EQ(with("modules.json", "{}"), "modules.json: {} is no list of 1 to 16 modules");
  EXPECT_EQ(with("modules.json", "[]"), "modules.json: [] is no list of 1 to 16 modules");
  EXPECT_EQ(with("modules.json", R"([{"type": "a.b.WordEmbeddings", "path": ""}])"),
            R"(modules.json: type is "a.b.WordEmbeddings", expected a Transformer first)");
  EXPECT_EQ(with("modules.json", R"([{"type": "Transformer", "path": "../other"}])"),
            R"(modules.json: path is "../other", expected a plain folder name)");
  EXPECT_EQ(
      with("modules.json", R"([{"type": "Transformer", "path": ""}, {"type": "LSTM", "path": "1"}])"),
      R"(modules.json: type is "LSTM", expected Transformer, Pooling, SpladePooling, Dense or Normalize)");
  EXPECT_EQ(with("modules.json", R"([{"type": "Transformer", "path": ""}, {"type": "Normalize", "path": "1"},
                                     {"type": "Dense", "path": "2_Dense"}])"),
            R"(modules.json: type is "Dense", expected nothing after Normalize)");
  EXPECT_EQ(
      with("1_Pooling/config.json", R"({"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true})"),
      "1_Pooling/config.json: pooling_mode_max_tokens is true, expected false: one way of pooling at a time");
  EXPECT_EQ(with("1_Pooling/config.json", R"({"pooling_mode_mean_sqrt_len_tokens": true})"),
            "1_Pooling/config.json: pooling_mode_mean_sqrt_len_tokens is true, expected false");
  EXPECT_EQ(with("2_Dense/config.json", R"({"in_features": 41, "out_features": 24})"),
            "config.json: 2_Dense: a dense layer of 41 inputs, expected 40");
  EXPECT_EQ(with("2_Dense/config.json", R"({"in_features": 40, "out_features": 25})"),
            "2_Dense/model.safetensors: tensor 'linear.weight': shape [24,40], expected [25,40]");
  fs::remove(fs::path(folder_.path()) / "2_Dense/model.safetensors");
  EXPECT_EQ(load_error().substr(0, 20), "2_Dense: no weights:");
}

}  // namespace
}  // namespace nanochat::testing
