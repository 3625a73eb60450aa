// The configuration of an encoder, as data: every switch that tells one family from another.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/activation.h"

namespace nanochat {

// Which names a transformer's tensors have on disk. The maths depends on the switches below alone.
enum class EncoderFamily : int32_t { bert, longformer, t5, clip_text, clip_vision };

enum class NormKind : int32_t { layer, rms };
enum class NormPlacement : int32_t { after, before };  // of attention and feed-forward

// One vector of many rows. as_configured: what the model's files say; without a word from them: mean.
// end_of_text: CLIP's last token. pooler: BERT's, a matrix and tanh over the first token.
enum class TextPooling : int32_t { as_configured, mean, cls, last, max, none, end_of_text, pooler };

// What stands on the transformer.
enum class EncoderHead : int32_t {
  none,
  projection,        // a matrix over the pooled vector
  token_projection,  // a matrix over each token, each normalised (ColBERT)
  sparse,            // masked-language-model head, log(1 + relu), the largest over all tokens (SPLADE)
};

// A transformer: of a text's tokens, or of an image's patches.
struct TowerConfig {
  EncoderFamily family = EncoderFamily::bert;
  int64_t n_layer = 0, n_head = 0, head_dim = 0, n_embd = 0, mlp_hidden = 0;
  int64_t max_rows = 0;  // tokens of a text; patches of an image and one

  int64_t vocab_size = 0;      // 0: an image's
  int64_t n_positions = 0;     // rows of the table of positions; 0: none
  int64_t first_position = 0;  // RoBERTa: pad_token + 1
  int32_t pad_token = -1;      // RoBERTa: such a token has the position pad_token and takes none. -1: nothing
  int64_t n_types = 0;         // rows of the table of token types; 0: none
  bool has_embedding_norm = false, has_final_norm = false, has_bias = true;

  NormKind norm = NormKind::layer;
  NormPlacement norm_placement = NormPlacement::after;
  float norm_eps = 1e-12F;
  RowActivation activation = RowActivation::gelu;
  bool is_gated = false;  // feed-forward: activation(a x) * (b x)

  float attn_scale = 0.0F;
  bool is_causal = false;
  std::vector<int64_t> window;     // [n_layer] keys seen to either side; empty: all
  bool has_global_tokens = false;  // Longformer: projections of their own for tokens that see all
  int64_t n_buckets = 0;           // T5: of relative positions; 0: none
  int64_t bucket_distance = 0;     // the last bucket starts here at the latest

  int64_t image_size = 0, patch_size = 0;  // of an image's tower

  int64_t n_patches() const { return (image_size / patch_size) * (image_size / patch_size); }
  int64_t attention_width() const { return n_head * head_dim; }
  bool operator==(const TowerConfig&) const = default;
};

struct DenseConfig {  // a layer after pooling, of sentence-transformers
  std::string folder;
  int64_t n_inputs = 0, n_outputs = 0;
  bool has_bias = true;
  RowActivation activation = RowActivation::tanh;
  bool operator==(const DenseConfig&) const = default;
};

struct EncoderConfig {
  std::string architecture;  // "bert", "roberta", "longformer", "t5", "clip"
  std::optional<TowerConfig> text, vision;

  TextPooling pooling = TextPooling::mean;
  int32_t end_token = -1;  // of pooling end_of_text: its first place; -1: the first place of the largest id
  EncoderHead head = EncoderHead::none;
  int64_t head_width = 0;   // of a projection
  std::string head_folder;  // of a token projection's matrix, if it has one of its own
  bool head_has_bias = false;
  bool is_head_tied = false;                            // sparse: the vocabulary's matrix is the embedding
  RowActivation head_activation = RowActivation::gelu;  // sparse
  int32_t n_sparse_logs = 1;                            // log(1 + x) this many times over
  std::vector<DenseConfig> dense;
  bool is_normalized = false;
  int64_t max_seq_length = 0;   // where texts are cut unless the caller says otherwise; <= text->max_rows
  int64_t n_global_tokens = 0;  // Longformer: the first ones, unless the caller says otherwise

  bool operator==(const EncoderConfig&) const = default;
};

// config.json as Hugging Face writes it, by model_type: bert, roberta, xlm-roberta, camembert, longformer,
// t5, codet5p_embedding, clip, clip_text_model, clip_vision_model. Throws config_invalid or
// format_unsupported naming file, field, value and what was expected; a key that changes the maths and is not
// understood is refused by name.
EncoderConfig parse_encoder_config(const Json& document, std::string_view file_name);

// Whether config.json is one of those.
bool is_encoder_config(const Json& document);

// Whether what lies there is to be loaded as an encoder: by config.json, or by modules.json if that says
// nothing of a decoder. False for what is absent or malformed: who loads it says what is wrong.
bool is_encoder_directory(const std::string& path);

// The checks that any configuration passes, wherever it comes from. Throws config_invalid.
void check_encoder_config(const EncoderConfig& config, std::string_view file_name);

// Numbers of a vector: of a text, with pooling none of each of its tokens; of an image. The configuration has
// such a tower.
int64_t text_width(const EncoderConfig& config, TextPooling pooling);
int64_t image_width(const EncoderConfig& config);

// Shapes by name, for synthetic models: "minilm-l6", "bert-base", "e5-large", "splade-base", "colbert-base",
// "longformer-base", "codet5p-110m", "clip-vit-l14". Throws invalid_argument naming the text.
EncoderConfig encoder_shape(std::string_view name);
bool is_encoder_shape(std::string_view name);

}  // namespace nanochat
