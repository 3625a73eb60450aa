#include "encoder/encoder_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"
#include "base/excerpt.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

float scale_of(int64_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

struct BertShape {
  int64_t n_layer, n_embd, n_head, mlp_hidden;
};

TowerConfig bert_tower(const BertShape& shape) {
  TowerConfig tower;
  tower.n_layer = shape.n_layer;
  tower.n_embd = shape.n_embd;
  tower.n_head = shape.n_head;
  tower.head_dim = shape.n_embd / shape.n_head;
  tower.mlp_hidden = shape.mlp_hidden;
  tower.vocab_size = 30522;
  tower.max_rows = tower.n_positions = 512;
  tower.n_types = 2;
  tower.has_embedding_norm = true;
  tower.attn_scale = scale_of(tower.head_dim);
  return tower;
}

EncoderConfig bert_config(const BertShape& shape) {
  EncoderConfig config;
  config.architecture = "bert";
  config.text = bert_tower(shape);
  config.max_seq_length = 512;
  return config;
}

EncoderConfig longformer_config() {
  EncoderConfig config;
  config.architecture = "longformer";
  TowerConfig tower = bert_tower({12, 768, 12, 3072});
  tower.family = EncoderFamily::longformer;
  tower.vocab_size = 50265;
  tower.n_positions = 4098;
  tower.max_rows = config.max_seq_length = 4096;
  tower.pad_token = 1;
  tower.first_position = 2;
  tower.n_types = 1;
  tower.norm_eps = 1e-5F;
  tower.window.assign(12, 256);
  tower.has_global_tokens = true;
  config.text = tower;
  config.n_global_tokens = 1;
  return config;
}

EncoderConfig codet5p_config() {
  EncoderConfig config;
  config.architecture = "t5";
  TowerConfig tower;
  tower.family = EncoderFamily::t5;
  tower.n_layer = tower.n_head = 12;
  tower.n_embd = 768;
  tower.head_dim = 64;
  tower.mlp_hidden = 3072;
  tower.vocab_size = 32103;
  tower.max_rows = config.max_seq_length = 512;
  tower.norm = NormKind::rms;
  tower.norm_placement = NormPlacement::before;
  tower.norm_eps = 1e-6F;
  tower.activation = RowActivation::relu;
  tower.has_final_norm = true;
  tower.has_bias = false;
  tower.attn_scale = 1.0F;
  tower.n_buckets = 32;
  tower.bucket_distance = 128;
  config.text = tower;
  config.pooling = TextPooling::cls;
  config.head = EncoderHead::projection;
  config.head_width = 256;
  config.head_has_bias = true;
  config.is_normalized = true;
  return config;
}

TowerConfig clip_tower(const BertShape& shape) {
  TowerConfig tower = bert_tower(shape);
  tower.n_types = 0;
  tower.norm_eps = 1e-5F;
  tower.norm_placement = NormPlacement::before;
  tower.activation = RowActivation::quick_gelu;
  tower.has_final_norm = true;
  return tower;
}

EncoderConfig clip_config() {
  EncoderConfig config;
  config.architecture = "clip";
  TowerConfig text = clip_tower({12, 768, 12, 3072});
  text.family = EncoderFamily::clip_text;
  text.vocab_size = 49408;
  text.max_rows = text.n_positions = config.max_seq_length = 77;
  text.is_causal = true;
  text.has_embedding_norm = false;
  TowerConfig vision = clip_tower({24, 1024, 16, 4096});
  vision.family = EncoderFamily::clip_vision;
  vision.vocab_size = 0;
  vision.image_size = 224;
  vision.patch_size = 14;
  vision.max_rows = vision.n_positions = vision.n_patches() + 1;
  config.text = text;
  config.vision = vision;
  config.pooling = TextPooling::end_of_text;
  config.head = EncoderHead::projection;
  config.head_width = 768;
  return config;
}

class TowerChecks {
 public:
  TowerChecks(const TowerConfig& tower, std::string_view file_name) : tower_(tower), file_name_(file_name) {}

  void run() const {
    within("layers", tower_.n_layer, config_limit::kLayers);
    within("heads", tower_.n_head, config_limit::kHeads);
    within("head size", tower_.head_dim, {1, 65536});
    within("width", tower_.n_embd, config_limit::kWidth);
    within("heads times head size", tower_.attention_width(), config_limit::kWidth);
    within("feed-forward width", tower_.mlp_hidden, config_limit::kHidden);
    within("positions", tower_.max_rows, config_limit::kSequence);
    if (tower_.family == EncoderFamily::clip_vision) {
      within("image size", tower_.image_size, {1, 1 << 14});
      within("patch size", tower_.patch_size, {1, tower_.image_size});
      same("positions", tower_.n_positions, tower_.n_patches() + 1);
      same("rows of an image", tower_.max_rows, tower_.n_patches() + 1);
    } else {
      within("vocabulary", tower_.vocab_size, config_limit::kVocabulary);
      if (tower_.n_positions > 0)
        within("last position", tower_.first_position + tower_.max_rows, {1, tower_.n_positions});
      if (tower_.pad_token >= 0) within("padding token", tower_.pad_token, {0, tower_.vocab_size - 1});
    }
    if (!tower_.window.empty()) same("windows", std::ssize(tower_.window), tower_.n_layer);
    for (const int64_t window : tower_.window) within("window", window, config_limit::kSequence);
    if (tower_.n_buckets != 0) {
      within("relative buckets", tower_.n_buckets, {4, 65536});
      within("bucket distance", tower_.bucket_distance, {tower_.n_buckets / 4 + 1, 1 << 20});
    }
  }

 private:
  void within(const char* what, int64_t value, Range<int64_t> range) const {
    if (value >= range.smallest && value <= range.largest) return;
    refuse(format_text("{} is {}, expected {} to {}", what, value, range.smallest, range.largest));
  }
  void same(const char* what, int64_t value, int64_t expected) const {
    if (value != expected) refuse(format_text("{} is {}, expected {}", what, value, expected));
  }
  [[noreturn]] void refuse(const std::string& reason) const {
    throw Error(Status::config_invalid).subject(file_name_).say("{}: {}", file_name_, reason);
  }

  const TowerConfig& tower_;
  std::string_view file_name_;
};

}  // namespace

void check_encoder_config(const EncoderConfig& config, std::string_view file_name) {
  const auto refuse = [&](const std::string& reason) {
    throw Error(Status::config_invalid).subject(file_name).say("{}: {}", file_name, reason);
  };
  if (!config.text && !config.vision) refuse("neither a text's nor an image's transformer");
  if (config.text) TowerChecks(*config.text, file_name).run();
  if (config.vision) TowerChecks(*config.vision, file_name).run();
  const bool has_width =
      config.head == EncoderHead::projection || config.head == EncoderHead::token_projection;
  if (has_width && (config.head_width < 1 || config.head_width > config_limit::kWidth.largest)) {
    refuse(
        format_text("projection to {}, expected 1 to {}", config.head_width, config_limit::kWidth.largest));
  }
  if (config.text && (config.max_seq_length < 1 || config.max_seq_length > config.text->max_rows)) {
    refuse(format_text("texts of {} tokens, expected 1 to {}", config.max_seq_length, config.text->max_rows));
  }
  if (!config.dense.empty() && config.text) {
    int64_t width = config.head == EncoderHead::projection ? config.head_width : config.text->n_embd;
    for (const DenseConfig& dense : config.dense) {
      if (dense.n_inputs != width) {
        refuse(
            format_text("{}: a dense layer of {} inputs, expected {}", dense.folder, dense.n_inputs, width));
      }
      width = dense.n_outputs;
    }
  }
}

int64_t text_width(const EncoderConfig& config, TextPooling pooling) {
  if (config.head == EncoderHead::sparse) return config.text->vocab_size;
  const bool has_token_rows =
      (pooling == TextPooling::as_configured ? config.pooling : pooling) == TextPooling::none;
  if (has_token_rows) {
    return config.head == EncoderHead::token_projection ? config.head_width : config.text->n_embd;
  }
  if (!config.dense.empty()) return config.dense.back().n_outputs;
  return config.head == EncoderHead::projection ? config.head_width : config.text->n_embd;
}

int64_t image_width(const EncoderConfig& config) {
  if (!config.dense.empty()) return config.dense.back().n_outputs;
  return config.head == EncoderHead::projection ? config.head_width : config.vision->n_embd;
}

bool is_encoder_shape(std::string_view name) {
  constexpr std::string_view kNames[] = {"minilm-l6",    "bert-base",       "e5-large",     "splade-base",
                                         "colbert-base", "longformer-base", "codet5p-110m", "clip-vit-l14"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

EncoderConfig encoder_shape(std::string_view name) {
  const BertShape base{12, 768, 12, 3072};
  if (name == "minilm-l6") return bert_config({6, 384, 12, 1536});
  if (name == "bert-base") return bert_config(base);
  if (name == "e5-large") return bert_config({24, 1024, 16, 4096});
  if (name == "splade-base") {
    EncoderConfig config = bert_config(base);
    config.head = EncoderHead::sparse;
    config.is_head_tied = true;
    return config;
  }
  if (name == "colbert-base") {
    EncoderConfig config = bert_config(base);
    config.head = EncoderHead::token_projection;
    config.head_width = 128;
    config.pooling = TextPooling::none;
    config.is_normalized = true;
    return config;
  }
  if (name == "longformer-base") return longformer_config();
  if (name == "codet5p-110m") return codet5p_config();
  if (name == "clip-vit-l14") return clip_config();
  throw Error(Status::invalid_argument)
      .subject("shape")
      .say(
          "'{}' is no shape of an encoder, expected minilm-l6, bert-base, e5-large, splade-base, "
          "colbert-base, "
          "longformer-base, codet5p-110m or clip-vit-l14",
          excerpt(name, 40));
}

}  // namespace nanochat
