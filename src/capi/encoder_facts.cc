#include "capi/encoder_facts.h"

#include "base/json.h"

namespace nanochat {

namespace {

// The values of nanochat_pooling_values have an order of their own: they were appended.
int32_t exported_pooling(TextPooling pooling) {
  switch (pooling) {
    case TextPooling::mean:
      return NANOCHAT_POOLING_MEAN;
    case TextPooling::cls:
      return NANOCHAT_POOLING_CLS;
    case TextPooling::last:
      return NANOCHAT_POOLING_LAST;
    case TextPooling::max:
      return NANOCHAT_POOLING_MAX;
    case TextPooling::none:
      return NANOCHAT_POOLING_NONE;
    case TextPooling::pooler:
      return NANOCHAT_POOLING_POOLER;
    default:
      return NANOCHAT_POOLING_DEFAULT;
  }
}

const char* pooling_name(TextPooling pooling) {
  constexpr const char* kNames[] = {"as_configured", "mean", "cls",         "last",
                                    "max",           "none", "end_of_text", "pooler"};
  return kNames[static_cast<size_t>(pooling)];
}

const char* head_name(EncoderHead head) {
  constexpr const char* kNames[] = {"none", "projection", "token_projection", "sparse"};
  return kNames[static_cast<size_t>(head)];
}

Json tower_json(const TowerConfig& tower) {
  Json json;
  json["n_layer"] = tower.n_layer;
  json["n_head"] = tower.n_head;
  json["head_dim"] = tower.head_dim;
  json["n_embd"] = tower.n_embd;
  json["mlp_hidden"] = tower.mlp_hidden;
  json["max_rows"] = tower.max_rows;
  if (tower.vocab_size > 0) json["vocab_size"] = tower.vocab_size;
  if (tower.image_size > 0) {
    json["image_size"] = tower.image_size;
    json["patch_size"] = tower.patch_size;
  }
  return json;
}

}  // namespace

int32_t exported_weights(WeightDtype dtype) {
  switch (dtype) {
    case WeightDtype::i8:
      return NANOCHAT_WEIGHTS_INT8;
    case WeightDtype::bf16:
      return NANOCHAT_WEIGHTS_BF16;
    case WeightDtype::f8:
      return NANOCHAT_WEIGHTS_FP8;
    default:
      return NANOCHAT_WEIGHTS_F32;
  }
}

const char* weights_name(WeightDtype dtype) {
  switch (dtype) {
    case WeightDtype::i8:
      return "int8";
    case WeightDtype::bf16:
      return "bf16";
    case WeightDtype::f8:
      return "fp8";
    default:
      return "f32";
  }
}

nanochat_model_info make_info(const Encoder& encoder) {
  const EncoderConfig& config = encoder.config();
  const EncoderPlan& plan = encoder.plan();
  const TowerConfig& tower = config.text ? *config.text : *config.vision;
  nanochat_model_info info{};
  info.parameters = static_cast<uint64_t>(plan.n_parameters);
  info.weight_bytes = plan.weight_bytes;
  info.sequence_len = tower.max_rows;
  info.vocab_size = tower.vocab_size;
  info.n_layer = tower.n_layer;
  info.n_head = info.n_kv_head = tower.n_head;
  info.n_embd = tower.n_embd;
  info.load_seconds = encoder.load_seconds();
  info.bos_token = -1;
  info.weights = exported_weights(encoder.weight_dtype());
  info.kind = NANOCHAT_MODEL_ENCODER;
  info.pooling = exported_pooling(config.pooling);
  info.embedding_width = config.text ? text_width(encoder, {}) : image_width(encoder);
  info.max_tokens = config.text ? config.max_seq_length : 0;
  info.image_size = config.vision ? config.vision->image_size : 0;
  info.flops_per_token = plan.flops_per_token;
  info.is_normalized = config.is_normalized ? 1 : 0;
  info.has_sparse = config.head == EncoderHead::sparse ? 1 : 0;
  info.has_token_vectors = config.head == EncoderHead::token_projection ? 1 : 0;
  info.has_pooler = encoder.has_pooler() ? 1 : 0;
  return info;
}

std::string describe_json(const Encoder& encoder) {
  const EncoderConfig& config = encoder.config();
  const nanochat_model_info info = make_info(encoder);
  Json json;
  json["schema"] = "nanochat.model.v1";
  json["kind"] = "encoder";
  json["architecture"] = config.architecture;
  json["device"] = encoder.device().name();
  json["weights"] = weights_name(encoder.weight_dtype());
  json["parameters"] = info.parameters;
  json["weight_bytes"] = info.weight_bytes;
  json["flops_per_token"] = info.flops_per_token;
  json["load_seconds"] = info.load_seconds;
  json["checksum_xxh3_128"] = encoder.checksum().hex();
  json["embedding_width"] = info.embedding_width;
  json["max_tokens"] = info.max_tokens;
  json["pooling"] = pooling_name(config.pooling);
  json["normalized"] = config.is_normalized;
  json["head"] = head_name(config.head);
  if (config.text) json["text"] = tower_json(*config.text);
  if (config.vision) json["vision"] = tower_json(*config.vision);
  return write_json(json, 2);
}

}  // namespace nanochat
