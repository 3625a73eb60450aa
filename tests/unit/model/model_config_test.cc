#include <functional>
#include <limits>

#include "base/error.h"
#include "model/config.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

const char* const kOwnText = R"({"generation": "V1", "sequence_len": 2048, "vocab_size": 32768, "n_layer": 12,
  "n_head": 6, "n_kv_head": 6, "n_embd": 768, "window_pattern": "SSSL"})";
const char* const kLlamaText = R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 172,
  "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 512,
  "max_position_embeddings": 512, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
  "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": [2, 7], "rope_scaling": null})";
const char* const kHfNanochatText =
    R"({"model_type": "nanochat", "hidden_size": 1280, "intermediate_size": 5120,
  "num_hidden_layers": 20, "num_attention_heads": 10, "vocab_size": 65536, "hidden_act": "relu2",
  "rms_norm_eps": 1e-06, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
  "final_logit_softcapping": 15.0, "eos_token_id": 65531, "bos_token_id": 65527})";

Json own() { return parse_json(kOwnText, "config.json"); }
Json llama() { return parse_json(kLlamaText, "config.json"); }
Json hf_nanochat() { return parse_json(kHfNanochatText, "config.json"); }
ModelConfig parse(const Json& json, std::span<const NamedShape> tensors = {}) {
  return parse_model_config(json, "config.json", tensors);
}

// The refusal must name the file, the field and its value.
void expect_refusal_shows(const Json& json, const std::string& field, const std::string& value) {
  try {
    parse(json);
    ADD_FAILURE() << field << " = " << value << " was accepted";
  } catch (const Error& error) {
    EXPECT_TRUE(error.status() == Status::config_invalid || error.status() == Status::format_unsupported);
    EXPECT_NE(error.message().find("config.json"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(field), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(value), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("expected"), std::string::npos) << error.message();
  }
}
void expect_refused(Json json, const std::string& field, const Json& value) {
  json[field] = value;
  expect_refusal_shows(json, field, value.is_null() ? "missing" : write_json(value).substr(0, 20));
}

TEST(ModelConfig, EveryGoldenConfigurationIsReadInFull) {
  for (const std::string& name : golden_cases()) {
    const Json json = parse_json(read_file(golden_path(name) + "/config.json"), name);
    const ModelConfig config = parse(json);
    EXPECT_EQ(config.window_left, json.at("window_left").get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(config.padded_vocab_size, json.at("padded_vocab_size").get<int64_t>());
    EXPECT_EQ(config.rope_base, json.at("rope_base").get<double>());
    EXPECT_EQ(config.attn_scale, json.at("attn_scale").get<float>());
    EXPECT_EQ(config.qk_gain, json.at("qk_gain").get<float>());
    EXPECT_EQ(config.norm_eps, json.at("norm_eps").get<float>());
    const bool is_v1 = json.at("generation") == "V1";
    EXPECT_EQ(config.rope_table_dtype, is_v1 ? DType::f32 : DType::bf16);
    EXPECT_EQ(config.ve_layers,
              is_v1 ? json.at("ve_layers").get<std::vector<int64_t>>() : std::vector<int64_t>());
    EXPECT_EQ(config.backout_layer, is_v1 ? json.at("backout_layer").get<int64_t>() : -1);
    EXPECT_EQ(config.smear_channels, is_v1 ? 24 : 0);
    EXPECT_EQ(config.has_residual_scalars, is_v1);
  }
}

TEST(ModelConfig, DerivedFieldsFollowFromThePrimaryOnes) {
  for (const std::string& name : golden_cases()) {
    Json json = parse_json(read_file(golden_path(name) + "/config.json"), name);
    const ModelConfig full = parse(json);
    for (const char* field : {"padded_vocab_size", "head_dim",       "rope_base",     "rope_rotation_sign",
                              "rope_table_dtype",  "rope_table_len", "norm_eps",      "norm_eps_note",
                              "qk_gain",           "attn_scale",     "mlp_hidden",    "logit_softcap",
                              "compute_dtype",     "window_left",    "ve_layers",     "ve_gate_channels",
                              "ve_gate_scale",     "smear_channels", "backout_layer", "seed",
                              "reference_commit"}) {
      json.erase(field);
    }
    EXPECT_EQ(parse(json), full) << name;
  }
}

TEST(ModelConfig, WrittenAndReadAgainItIsTheSame) {
  std::vector<ModelConfig> configs = {nanochat_shape("v0-d20"), nanochat_shape("v1-d24"), parse(llama()),
                                      parse(hf_nanochat())};
  for (const std::string& name : golden_cases()) {
    configs.push_back(parse(parse_json(read_file(golden_path(name) + "/config.json"), name)));
  }
  for (const ModelConfig& config : configs) {
    const std::string text = write_json(model_config_json(config));
    EXPECT_EQ(parse(parse_json(text, "again")), config) << text;
  }
}

TEST(ModelConfig, WithoutAGenerationTheTensorsTell) {
  Json json = own();
  json.erase("generation");
  json.erase("window_pattern");
  expect_refusal_shows(json, "generation", "missing");

  const NamedShape weights{"lm_head.weight", {32768, 768}}, scalars{"resid_lambdas", {12}};
  const NamedShape smear{"smear_gate.weight", {1, 24}};
  const auto gate = [](int64_t width) {
    return NamedShape{"transformer.h.1.attn.ve_gate.weight", {6, width}};
  };
  const auto architecture = [&](std::vector<NamedShape> tensors) {
    return parse(json, tensors).architecture;
  };
  EXPECT_EQ(architecture({weights}), "nanochat-v0");
  EXPECT_EQ(architecture({weights, scalars}), "nanochat-2026-01-11");
  EXPECT_EQ(architecture({weights, scalars, gate(32)}), "nanochat-2026-01-18");
  EXPECT_EQ(architecture({weights, scalars, gate(12)}), "nanochat-2026-03-09");
  EXPECT_EQ(architecture({weights, scalars, gate(12), smear}), "nanochat-v1");
  EXPECT_THROW(architecture({weights, scalars, gate(17)}), Error);

  json["window_pattern"] = "SL";
  const ModelConfig march = parse(json, std::vector<NamedShape>{scalars, gate(12)});
  EXPECT_EQ(march.window_left[0], 768);  // a third of 2048, rounded up to 128
  EXPECT_EQ(march.qk_gain, 1.15F);
  EXPECT_EQ(march.smear_channels, 0);
  EXPECT_EQ(march.backout_layer, -1);
  const ModelConfig january = parse(json, std::vector<NamedShape>{scalars, gate(32)});
  EXPECT_EQ(january.window_left[0], 1024);
  EXPECT_EQ(january.rope_base, 1e4);
  EXPECT_EQ(january.ve_gate_scale, 2.0F);
  for (const ModelConfig& config : {march, january}) EXPECT_EQ(parse(model_config_json(config)), config);
}

TEST(ModelConfig, WindowsFollowThePattern) {
  Json json = own();
  EXPECT_EQ(parse(json).window_left[0], 512);
  EXPECT_EQ(parse(json).window_left[3], 2048);
  json["n_layer"] = 2;
  json["window_pattern"] = "sss";
  EXPECT_EQ(parse(json).window_left, (std::vector<int64_t>{512, 2048}));  // the last layer is long
  json["window_left"] = Json::array({512, 2048});
  parse(json);
  expect_refused(json, "window_left", Json::array({512, 512}));
  expect_refused(json, "window_pattern", "SSX");
  json["generation"] = "V0";
  json.erase("window_left");
  expect_refusal_shows(json, "window_pattern", "\"sss\"");
}

TEST(ModelConfig, OwnFieldsThatDisagreeAreRefused) {
  const std::pair<const char*, Json> cases[] = {{"head_dim", 64},
                                                {"padded_vocab_size", 32769},
                                                {"mlp_hidden", 3000},
                                                {"rope_table_len", 2048},
                                                {"attn_scale", 0.125},
                                                {"ve_layers", Json::array({0, 1})},
                                                {"ve_gate_channels", 8},
                                                {"smear_channels", 12},
                                                {"backout_layer", 5},
                                                {"rope_rotation_sign", 0},
                                                {"rope_table_dtype", "float16"},
                                                {"generation", "V2"},
                                                {"n_head", 5},
                                                {"n_kv_head", 4},
                                                {"n_kv_head", 7},
                                                {"n_embd", 769},
                                                {"rope_base", 0},
                                                {"norm_eps", -1},
                                                {"logit_softcap", -15},
                                                {"logit_soft_cap", 15}};
  for (const auto& [field, value] : cases) expect_refused(own(), field, value);
}

TEST(ModelConfig, EveryFieldRefusesWrongTypesAndRanges) {
  const Json wrong[] = {-1,
                        0,
                        0.5,
                        "12",
                        true,
                        Json::array({1}),
                        Json::object(),
                        nullptr,
                        std::numeric_limits<int64_t>::max(),
                        std::numeric_limits<uint64_t>::max(),
                        1e300};
  for (const char* field : {"sequence_len", "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd"}) {
    for (const Json& value : wrong) expect_refused(own(), field, value);
  }
  for (const char* field :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    for (const Json& value : wrong) {
      expect_refused(llama(), field, value);
      expect_refused(hf_nanochat(), field, value);
    }
  }
  for (const char* field : {"head_dim", "num_key_value_heads", "max_position_embeddings"}) {
    for (const Json& value : wrong) {
      if (!value.is_null()) expect_refused(llama(), field, value);
    }
  }
}

TEST(ModelConfig, LlamaIsReadAsItsFilesSay) {
  const ModelConfig config = parse(llama());
  EXPECT_EQ(config.format, ModelFormat::hf_llama);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.n_kv_head, 4);
  EXPECT_EQ(config.rope_rotation_sign, 1);
  EXPECT_EQ(config.norm_eps, 1e-5F);
  EXPECT_EQ(config.lm_head, LmHead::tied);
  EXPECT_EQ(config.activation, Activation::swiglu);
  EXPECT_EQ(config.logit_softcap, 0.0F);
  EXPECT_EQ(config.bos_token, 1);
  EXPECT_EQ(config.eos_tokens, (std::vector<int32_t>{2, 7}));
  Json json = llama();
  json["head_dim"] = 20;
  EXPECT_EQ(parse(json).head_dim, 20);
  json["eos_token_id"] = 3;
  EXPECT_EQ(parse(json).eos_tokens, (std::vector<int32_t>{3}));
  json.erase("num_key_value_heads");
  EXPECT_EQ(parse(json).n_kv_head, 8);
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  expect_refusal_shows(json, "rope_theta", "10000");
  json.erase("rope_theta");
  EXPECT_EQ(parse(json).rope_base, 5e5);
}

TEST(ModelConfig, LlamaVariantsThatChangeTheMathsAreRefusedByName) {
  const std::pair<const char*, Json> cases[] = {
      {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
      {"rope_parameters", {{"rope_type", "llama3"}, {"rope_theta", 5e5}}},
      {"attention_bias", true},
      {"mlp_bias", true},
      {"partial_rotary_factor", 0.5},
      {"hidden_act", "gelu"},
      {"sliding_window", 4096},
      {"quantization_config", {{"quant_method", "bitnet"}}},
      {"num_local_experts", 8},
      {"final_logit_softcapping", 30.0},
      {"eos_token_id", 512},
      {"eos_token_id", -1},
      {"bos_token_id", 512},
      {"num_key_value_heads", 3},
      {"head_dim", 7},
      {"rms_norm_eps", -1e-5},
      {"tie_word_embeddings", "yes"},
      {"model_type", "bitnet"}};
  for (const auto& [field, value] : cases) {
    Json json = llama();
    json[field] = value;
    // Objects are refused by the field inside them.
    const std::string shown = value.is_object() ? "" : write_json(value);
    expect_refusal_shows(json, field, shown == "\"bitnet\"" ? "bitnet" : shown);
  }
}

TEST(ModelConfig, HuggingFaceNanochatIsReadInAllItsSpellings) {
  const ModelConfig config = parse(hf_nanochat());
  EXPECT_EQ(config.format, ModelFormat::hf_nanochat);
  EXPECT_EQ(config.n_kv_head, 10);
  EXPECT_EQ(config.norm_eps, 1e-6F);
  EXPECT_EQ(config.rope_rotation_sign, -1);
  EXPECT_EQ(config.sequence_len, 2048);
  EXPECT_EQ(config.logit_softcap, 15.0F);
  for (const char* spelling : {"logits_soft_cap", "logits_softcap", "final_logit_softcapping"}) {
    Json json = hf_nanochat();
    json.erase("final_logit_softcapping");
    json[spelling] = 20.0;
    EXPECT_EQ(parse(json).logit_softcap, 20.0F);
  }
  expect_refused(hf_nanochat(), "qkv_bias", true);
  expect_refused(hf_nanochat(), "hidden_act", "silu");
  expect_refused(hf_nanochat(), "head_dim", 64);
}

TEST(ModelConfig, RefusesADocumentThatIsNoObject) {
  for (const char* text : {"[]", "3", "null", "\"llama\""}) {
    EXPECT_THROW(parse(parse_json(text, "config.json")), Error) << text;
  }
  expect_refusal_shows(Json::object(), "sequence_len", "missing");
}

TEST(ModelShape, HasTheParametersOfThePublishedModels) {
  const auto n_parameters = [](const char* shape) {
    ModelConfig config = nanochat_shape(shape);
    int64_t n = 2 * config.padded_vocab_size * config.n_embd;
    n += config.n_layer * 12 * config.n_embd * config.n_embd;
    for (int64_t i = 0; i < config.n_layer; ++i) {
      if (!config.has_value_embedding(i)) continue;
      n += config.padded_vocab_size * config.n_kv_width() + config.n_kv_head * config.ve_gate_channels;
    }
    if (config.has_residual_scalars) n += 2 * config.n_layer + config.smear_channels + 2;
    return n;
  };
  EXPECT_EQ(n_parameters("v0-d20"), 560988160);
  EXPECT_EQ(n_parameters("v0-d32"), 1879048192);
  EXPECT_EQ(n_parameters("v1-d24"), 1384122122);
  EXPECT_EQ(n_parameters("v1-d12"), 286261730);
}

TEST(ModelShape, NamesTheTextThatIsNoShape) {
  for (const char* text : {"", "d20", "v2-d20", "v0-d", "v0-d0", "v0-d-1", "v0-d20x",
                           "v0-d99999999999999999999", "v0-d5", "V0-d20"}) {
    try {
      nanochat_shape(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
      EXPECT_NE(error.message().find("\"" + std::string(text) + "\""), std::string::npos) << error.message();
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
