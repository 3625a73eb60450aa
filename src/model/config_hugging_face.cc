// config.json as Hugging Face writes it for model types `nanochat` and `llama`.
#include <cmath>

#include "base/error.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

// rope_parameters {rope_type, rope_theta} since transformers 5, rope_theta and rope_scaling before.
double read_rope_base(const ConfigReader& reader) {
  constexpr double kDefaultBase = 10000.0;
  if (reader.has("rope_scaling")) {
    const ConfigReader scaling = reader.object("rope_scaling");
    const std::string kind = scaling.text("rope_type", scaling.text("type", ""));
    if (kind != "default") reader.refuse("rope_scaling", "null: scaled rope is not supported");
  }
  if (!reader.has("rope_parameters"))
    return reader.number("rope_theta", config_limit::kRopeBase, kDefaultBase);
  const ConfigReader rope = reader.object("rope_parameters");
  rope.require_text("rope_type", "default");
  rope.require_absent("factor", "scaled rope is not supported");
  rope.require_number("partial_rotary_factor", 1.0);
  const double outer = reader.number("rope_theta", config_limit::kRopeBase, kDefaultBase);
  const double base = rope.number("rope_theta", config_limit::kRopeBase, outer);
  if (reader.has("rope_theta") && outer != base) {
    reader.refuse("rope_theta", format_text("{} as in rope_parameters", base));
  }
  return base;
}

// bos_token_id and eos_token_id: an integer or a list.
void read_tokens(const ConfigReader& reader, ModelConfig& config) {
  const Range<int64_t> token{0, config.vocab_size - 1};
  config.bos_token = static_cast<int32_t>(reader.integer("bos_token_id", token, -1));
  for (const int64_t id : reader.integers("eos_token_id", token)) {
    config.eos_tokens.push_back(static_cast<int32_t>(id));
  }
}

// Keys that would change the maths; accepted only with the value that changes nothing.
void refuse_variants(const ConfigReader& reader) {
  for (const char* key : {"attention_bias", "mlp_bias", "qkv_bias", "use_sliding_window", "use_qk_norm",
                          "parallel_attn", "add_cross_attention", "is_encoder_decoder", "alibi"}) {
    reader.require_flag(key, false);
  }
  for (const char* key :
       {"sliding_window", "num_local_experts", "num_experts", "layer_types", "attn_logit_softcapping",
        "query_pre_attn_scalar", "attention_multiplier", "residual_multiplier", "embedding_multiplier",
        "logits_scaling", "no_rope_layers"}) {
    reader.require_absent(key, "this variant of the architecture is not supported");
  }
  reader.require_number("partial_rotary_factor", 1.0);
}

void read_shape(const ConfigReader& reader, ModelConfig& config) {
  config.sequence_len = reader.integer("max_position_embeddings", config_limit::kSequence, 2048);
  config.vocab_size = reader.integer("vocab_size", config_limit::kVocabulary);
  config.padded_vocab_size = config.vocab_size;
  config.n_embd = reader.integer("hidden_size", config_limit::kWidth);
  config.mlp_hidden = reader.integer("intermediate_size", config_limit::kHidden);
  config.n_layer = reader.integer("num_hidden_layers", config_limit::kLayers);
  config.n_head = reader.integer("num_attention_heads", config_limit::kHeads);
  config.n_kv_head = reader.integer("num_key_value_heads", {1, config.n_head}, config.n_head);
  if (config.n_head % config.n_kv_head != 0) {
    reader.refuse("num_key_value_heads", format_text("a divisor of num_attention_heads = {}", config.n_head));
  }
  if (!reader.has("head_dim") && config.n_embd % config.n_head != 0) {
    reader.refuse("hidden_size", format_text("a multiple of num_attention_heads = {}", config.n_head));
  }
  config.head_dim = reader.integer("head_dim", config_limit::kHeadDim, config.n_embd / config.n_head);
  if (config.head_dim % 2 != 0) {
    if (reader.has("head_dim")) reader.refuse("head_dim", "an even number");
    reader.refuse("hidden_size", "an even multiple of num_attention_heads");
  }
  config.attn_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  config.window_left.assign(static_cast<size_t>(config.n_layer), -1);
  config.rope_base = read_rope_base(reader);
  config.rope_table_dtype = DType::f32;
  config.norm_eps = static_cast<float>(reader.number("rms_norm_eps", config_limit::kEpsilon, 1e-6));
  config.lm_head = reader.flag("tie_word_embeddings", false) ? LmHead::tied : LmHead::untied;
  read_tokens(reader, config);
}

void write_rope(const ModelConfig& config, Json& json) {
  if (config.format == ModelFormat::hf_nanochat) {
    json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", config.rope_base}};
  } else {
    json["rope_theta"] = config.rope_base;
    json["rope_scaling"] = nullptr;
  }
}

}  // namespace

ModelConfig parse_hf_nanochat_config(const ConfigReader& reader) {
  refuse_variants(reader);
  ModelConfig config;
  config.format = ModelFormat::hf_nanochat;
  config.architecture = "nanochat-v0";
  read_shape(reader, config);
  if (config.head_dim * config.n_head != config.n_embd) {
    reader.refuse("head_dim",
                  format_text("hidden_size / num_attention_heads = {}", config.n_embd / config.n_head));
  }
  reader.require_text("hidden_act", "relu2");
  double softcap = 15.0;
  for (const char* key : {"logits_softcap", "logits_soft_cap", "final_logit_softcapping"}) {
    softcap = reader.number(key, config_limit::kSoftcap, softcap);
  }
  config.logit_softcap = static_cast<float>(softcap);
  return config;
}

ModelConfig parse_hf_llama_config(const ConfigReader& reader) {
  refuse_variants(reader);
  reader.require_absent("final_logit_softcapping", "this variant of the architecture is not supported");
  reader.require_text("hidden_act", "silu");
  ModelConfig config;
  config.format = ModelFormat::hf_llama;
  config.architecture = "llama";
  config.rope_rotation_sign = 1;
  config.norm_weight = NormWeight::present;
  config.embedding_norm = EmbeddingNorm::none;
  config.qk_norm = QkNorm::none;
  config.activation = Activation::swiglu;
  config.logit_softcap = 0.0F;
  read_shape(reader, config);
  return config;
}

Json hugging_face_config_json(const ModelConfig& config) {
  const bool is_llama = config.format == ModelFormat::hf_llama;
  Json json = Json::object();
  json["architectures"] = Json::array({is_llama ? "LlamaForCausalLM" : "NanoChatForCausalLM"});
  json["model_type"] = is_llama ? "llama" : "nanochat";
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.n_embd;
  json["intermediate_size"] = config.mlp_hidden;
  json["num_hidden_layers"] = config.n_layer;
  json["num_attention_heads"] = config.n_head;
  json["num_key_value_heads"] = config.n_kv_head;
  json["head_dim"] = config.head_dim;
  json["max_position_embeddings"] = config.sequence_len;
  json["rms_norm_eps"] = shortest_decimal(config.norm_eps);
  write_rope(config, json);
  json["hidden_act"] = is_llama ? "silu" : "relu2";
  json["attention_bias"] = false;
  if (!is_llama) json["final_logit_softcapping"] = shortest_decimal(config.logit_softcap);
  json["tie_word_embeddings"] = config.lm_head == LmHead::tied;
  if (config.bos_token >= 0) json["bos_token_id"] = config.bos_token;
  if (config.eos_tokens.size() == 1) json["eos_token_id"] = config.eos_tokens.front();
  if (config.eos_tokens.size() > 1) json["eos_token_id"] = config.eos_tokens;
  return json;
}

}  // namespace nanochat
