// config.json of encoders as Hugging Face writes it, one reader per family.
#include <cmath>

#include "base/error.h"
#include "base/excerpt.h"
#include "encoder/encoder_config.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

constexpr Range<int64_t> kTypes{0, 65536};

float scale_of(int64_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

RowActivation read_activation(const ConfigReader& reader, std::string_view key, std::string_view fallback) {
  const std::string name = reader.text(key, fallback);
  if (name == "gelu" || name == "gelu_python") return RowActivation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return RowActivation::gelu_tanh;
  if (name == "quick_gelu") return RowActivation::quick_gelu;
  if (name == "relu") return RowActivation::relu;
  if (name == "silu" || name == "swish") return RowActivation::silu;
  if (name == "tanh") return RowActivation::tanh;
  reader.refuse(key, "gelu, gelu_new, quick_gelu, relu, silu or tanh");
}

std::string first_architecture(const ConfigReader& reader) {
  const Json* found = reader.json().find("architectures");
  if (found == nullptr || !found->is_array() || found->empty()) return {};
  const Json& first = *found->begin();
  return first.is_string() ? first.get<std::string>() : std::string();
}

// hidden_size, num_attention_heads and the rest, under the names that BERT and CLIP share.
void read_shape(const ConfigReader& reader, TowerConfig& tower) {
  tower.n_embd = reader.integer("hidden_size", config_limit::kWidth);
  tower.n_layer = reader.integer("num_hidden_layers", config_limit::kLayers);
  tower.n_head = reader.integer("num_attention_heads", config_limit::kHeads);
  tower.mlp_hidden = reader.integer("intermediate_size", config_limit::kHidden);
  if (tower.n_embd % tower.n_head != 0) {
    reader.refuse("hidden_size", format_text("a multiple of num_attention_heads = {}", tower.n_head));
  }
  tower.head_dim = tower.n_embd / tower.n_head;
  tower.attn_scale = scale_of(tower.head_dim);
  tower.norm_eps =
      static_cast<float>(reader.number("layer_norm_eps", config_limit::kEpsilon, tower.norm_eps));
}

// --- BERT and RoBERTa --------------------------------------------------------------------------------------

void read_roberta_positions(const ConfigReader& reader, TowerConfig& tower) {
  tower.pad_token = static_cast<int32_t>(reader.integer("pad_token_id", {0, tower.vocab_size - 1}, 1));
  tower.first_position = tower.pad_token + 1;
  if (tower.n_positions <= tower.first_position) {
    reader.refuse("max_position_embeddings",
                  format_text("more than pad_token_id + 1 = {}", tower.first_position));
  }
  tower.max_rows = tower.n_positions - tower.first_position;
}

void read_windows(const ConfigReader& reader, TowerConfig& tower) {
  std::vector<int64_t> windows = reader.integers("attention_window", {2, config_limit::kSequence.largest});
  if (windows.empty()) windows = {512};
  if (windows.size() == 1) windows.assign(static_cast<size_t>(tower.n_layer), windows.front());
  if (std::ssize(windows) != tower.n_layer) {
    reader.refuse("attention_window", format_text("one number or {}, one for each layer", tower.n_layer));
  }
  for (int64_t& window : windows) {
    if (window % 2 != 0) reader.refuse("attention_window", "even numbers");
    window /= 2;
  }
  tower.window = windows;
}

TowerConfig read_bert_tower(const ConfigReader& reader, std::string_view type) {
  TowerConfig tower;
  read_shape(reader, tower);
  tower.vocab_size = reader.integer("vocab_size", config_limit::kVocabulary);
  tower.max_rows = tower.n_positions =
      reader.integer("max_position_embeddings", config_limit::kSequence, 512);
  tower.n_types = reader.integer("type_vocab_size", kTypes, 2);
  tower.activation = read_activation(reader, "hidden_act", "gelu");
  tower.has_embedding_norm = true;
  reader.require_text("position_embedding_type", "absolute");
  reader.require_flag("is_decoder", false);
  reader.require_flag("add_cross_attention", false);
  reader.require_absent("embedding_size", "embeddings as wide as the layers");
  if (type != "bert") read_roberta_positions(reader, tower);
  if (type == "longformer") {
    tower.family = EncoderFamily::longformer;
    tower.has_global_tokens = true;
    read_windows(reader, tower);
  }
  return tower;
}

EncoderConfig parse_bert(const ConfigReader& reader, std::string_view type) {
  EncoderConfig config;
  config.architecture = type == "bert" || type == "longformer" ? type : "roberta";
  config.text = read_bert_tower(reader, type);
  config.max_seq_length = config.text->max_rows;
  if (type == "longformer") config.n_global_tokens = 1;
  const std::string architecture = first_architecture(reader);
  if (type == "bert" && architecture == "BertForMaskedLM") {
    config.head = EncoderHead::sparse;
    config.is_head_tied = reader.flag("tie_word_embeddings", true);
    config.head_activation = config.text->activation;
  } else if (type == "bert" && architecture.find("ColBERT") != std::string::npos) {
    config.head = EncoderHead::token_projection;
    config.head_width = reader.integer("dim", config_limit::kWidth, 128);
    config.pooling = TextPooling::none;
    config.is_normalized = true;
  }
  return config;
}

// --- T5 ----------------------------------------------------------------------------------------------------

void read_feed_forward(const ConfigReader& reader, TowerConfig& tower) {
  const std::string kind = reader.text("feed_forward_proj", "relu");
  tower.is_gated = kind.starts_with("gated-");
  const std::string activation = tower.is_gated ? kind.substr(6) : kind;
  if (activation == "relu") {
    tower.activation = RowActivation::relu;
  } else if (activation == "silu") {
    tower.activation = RowActivation::silu;
  } else if (activation == "gelu") {
    // "gated-gelu" has always meant the one with tanh; "gelu" alone the one without.
    tower.activation = tower.is_gated ? RowActivation::gelu_tanh : RowActivation::gelu;
  } else if (activation == "gelu_new") {
    tower.activation = RowActivation::gelu_tanh;
  } else {
    reader.refuse("feed_forward_proj", "relu, gelu, gated-gelu, gated-silu or gated-relu");
  }
}

EncoderConfig parse_t5(const ConfigReader& reader, std::string_view type) {
  EncoderConfig config;
  config.architecture = "t5";
  TowerConfig tower;
  tower.family = EncoderFamily::t5;
  tower.n_embd = reader.integer("d_model", config_limit::kWidth);
  tower.head_dim = reader.integer("d_kv", config_limit::kHeadDim);
  tower.mlp_hidden = reader.integer("d_ff", config_limit::kHidden);
  tower.n_layer = reader.integer("num_layers", config_limit::kLayers);
  tower.n_head = reader.integer("num_heads", config_limit::kHeads);
  tower.vocab_size = reader.integer("vocab_size", config_limit::kVocabulary);
  tower.max_rows = config.max_seq_length = reader.integer("n_positions", config_limit::kSequence, 512);
  tower.n_buckets = reader.integer("relative_attention_num_buckets", {4, 65536}, 32);
  tower.bucket_distance =
      reader.integer("relative_attention_max_distance", {tower.n_buckets / 4 + 1, 1 << 20}, 128);
  if (tower.n_buckets % 2 != 0) reader.refuse("relative_attention_num_buckets", "an even number");
  tower.norm = NormKind::rms;
  tower.norm_placement = NormPlacement::before;
  tower.norm_eps = static_cast<float>(reader.number("layer_norm_epsilon", config_limit::kEpsilon, 1e-6));
  tower.attn_scale = 1.0F;
  tower.has_bias = false;
  tower.has_final_norm = true;
  read_feed_forward(reader, tower);
  config.text = tower;
  if (type == "codet5p_embedding") {
    config.pooling = TextPooling::cls;
    config.head = EncoderHead::projection;
    config.head_width = reader.integer("embed_dim", config_limit::kWidth, 256);
    config.head_has_bias = true;
    config.is_normalized = true;
  }
  return config;
}

// --- CLIP --------------------------------------------------------------------------------------------------

TowerConfig read_clip_tower(const ConfigReader& reader) {
  TowerConfig tower;
  tower.norm_eps = 1e-5F;
  read_shape(reader, tower);
  tower.activation = read_activation(reader, "hidden_act", "quick_gelu");
  tower.norm_placement = NormPlacement::before;
  tower.has_final_norm = true;
  return tower;
}

TowerConfig read_clip_text(const ConfigReader& reader, EncoderConfig& config) {
  TowerConfig tower = read_clip_tower(reader);
  tower.family = EncoderFamily::clip_text;
  tower.vocab_size = reader.integer("vocab_size", config_limit::kVocabulary, 49408);
  tower.max_rows = tower.n_positions = reader.integer("max_position_embeddings", config_limit::kSequence, 77);
  tower.is_causal = true;
  // Files of the first models say 2, which was wrong; the largest id is meant then.
  const int64_t end = reader.integer("eos_token_id", config_limit::kToken, 49407);
  config.end_token = end == 2 ? -1 : static_cast<int32_t>(end);
  config.max_seq_length = tower.max_rows;
  config.pooling = TextPooling::end_of_text;
  return tower;
}

TowerConfig read_clip_vision(const ConfigReader& reader) {
  TowerConfig tower = read_clip_tower(reader);
  tower.family = EncoderFamily::clip_vision;
  reader.require_integer("num_channels", 3);
  tower.image_size = reader.integer("image_size", {1, 1 << 14}, 224);
  tower.patch_size = reader.integer("patch_size", {1, tower.image_size}, 32);
  tower.max_rows = tower.n_positions = tower.n_patches() + 1;
  tower.has_embedding_norm = true;
  return tower;
}

EncoderConfig parse_clip(const ConfigReader& reader, std::string_view type) {
  EncoderConfig config;
  config.architecture = "clip";
  config.head = EncoderHead::projection;
  config.head_width = reader.integer("projection_dim", config_limit::kWidth, 512);
  if (type == "clip_text_model") {
    config.text = read_clip_text(reader, config);
  } else if (type == "clip_vision_model") {
    config.vision = read_clip_vision(reader);
  } else {
    config.text = read_clip_text(reader.object("text_config"), config);
    config.vision = read_clip_vision(reader.object("vision_config"));
  }
  return config;
}

bool is_bert_type(std::string_view type) {
  return type == "bert" || type == "roberta" || type == "xlm-roberta" || type == "camembert" ||
         type == "longformer";
}
bool is_t5_type(std::string_view type) { return type == "t5" || type == "codet5p_embedding"; }
bool is_clip_type(std::string_view type) {
  return type == "clip" || type == "clip_text_model" || type == "clip_vision_model";
}

}  // namespace

bool is_encoder_config(const Json& document) {
  const Json* found = document.is_object() ? document.find("model_type") : nullptr;
  if (found == nullptr || !found->is_string()) return false;
  const auto& type = found->get_ref<const std::string&>();
  return is_bert_type(type) || is_t5_type(type) || is_clip_type(type);
}

EncoderConfig parse_encoder_config(const Json& document, std::string_view file_name) {
  const ConfigReader reader(document, file_name);
  const std::string type = reader.text("model_type", "");
  EncoderConfig config;
  if (is_bert_type(type)) {
    config = parse_bert(reader, type);
  } else if (is_t5_type(type)) {
    config = parse_t5(reader, type);
  } else if (is_clip_type(type)) {
    config = parse_clip(reader, type);
  } else {
    throw Error(Status::format_unsupported)
        .subject(file_name)
        .field("field", "model_type")
        .say(
            "{}: model_type is '{}', expected bert, roberta, xlm-roberta, camembert, longformer, t5, "
            "codet5p_embedding or clip",
            file_name, excerpt(type, 40));
  }
  check_encoder_config(config, file_name);
  return config;
}

}  // namespace nanochat
