// The configuration of a decoder, as data: every switch that tells one generation of models from another.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace nanochat {

// Which names and files a model has on disk. The maths depends on the switches below alone.
enum class ModelFormat : int32_t { nanochat = 0, hf_nanochat = 1, hf_llama = 2 };

enum class Activation : int32_t { relu2 = 0, swiglu = 1 };
enum class NormWeight : int32_t { none = 0, present = 1 };
enum class QkNorm : int32_t { none = 0, after_rope = 1 };
enum class EmbeddingNorm : int32_t { none = 0, present = 1 };
enum class LmHead : int32_t { untied = 0, tied = 1 };

struct ModelConfig {
  ModelFormat format = ModelFormat::nanochat;
  std::string architecture;  // "nanochat-v0", "nanochat-v1", "llama"; names the generation in our config.json

  int64_t sequence_len = 0;
  int64_t vocab_size = 0;         // logits per token
  int64_t padded_vocab_size = 0;  // rows of embedding and head on disk
  int64_t n_layer = 0, n_head = 0, n_kv_head = 0, n_embd = 0, head_dim = 0, mlp_hidden = 0;

  double rope_base = 10000.0;
  int32_t rope_rotation_sign = -1;      // -1: nanochat; +1: Llama
  DType rope_table_dtype = DType::f32;  // bf16: the fp32 table is rounded to bf16 (V0)
  float norm_eps = 1.1920928955078125e-07F;
  NormWeight norm_weight = NormWeight::none;
  EmbeddingNorm embedding_norm = EmbeddingNorm::present;
  QkNorm qk_norm = QkNorm::after_rope;
  float qk_gain = 1.0F;
  float attn_scale = 0.0F;
  Activation activation = Activation::relu2;
  float logit_softcap = 15.0F;  // 0: none
  LmHead lm_head = LmHead::untied;

  std::vector<int64_t> window_left;  // [n_layer]; -1: all
  std::string window_pattern;        // as written; "" if absent
  std::vector<int64_t> ve_layers;    // layers with a value embedding, ascending
  int64_t ve_gate_channels = 0;
  float ve_gate_scale = 0.0F;
  int64_t smear_channels = 0;         // 0: no smear
  int64_t backout_layer = -1;         // -1: no backout
  bool has_residual_scalars = false;  // resid_lambdas, x0_lambdas

  int32_t bos_token = -1;  // -1: the tokenizer knows
  std::vector<int32_t> eos_tokens;

  int64_t n_kv_width() const { return n_kv_head * head_dim; }
  bool has_value_embedding(int64_t layer) const;
  bool operator==(const ModelConfig&) const = default;
};

// A tensor as a directory has it, for configurations that do not name their generation.
struct NamedShape {
  std::string name;
  Shape shape;
};

// Reads config.json of any accepted kind: nanochat's own (the fields of the reference's model_config plus the
// derived ones, which are checked against each other), Hugging Face `nanochat` and `llama`. Throws
// config_invalid or format_unsupported naming file, field, value and what was expected. A key that changes
// the maths and is not understood (rope_scaling, attention_bias true, ...) is refused by name. `tensors` is
// asked only where a nanochat configuration has no "generation": the reference writes none, its tensors tell.
ModelConfig parse_model_config(const Json& document, std::string_view file_name,
                               std::span<const NamedShape> tensors = {});

// The checks that any configuration passes, wherever it comes from: ranges that keep every size far from
// overflow, and fields that agree with each other. Throws config_invalid.
void check_model_config(const ModelConfig& config, std::string_view file_name);

// config.json as we write it: for nanochat models exactly the reference's fields; for Hugging Face formats
// theirs. parse_model_config() of it gives the same configuration.
Json model_config_json(const ModelConfig& config);

// Whether config.json says that the weights are stored as int8: a "quantization_config" of
// compressed-tensors' form "int-quantized" with a scale for each output. parse_model_config() has refused
// every other.
bool has_int8_weights(const Json& document, std::string_view file_name);

// What config.json says of weights that are stored so.
Json int8_weights_json(const ModelConfig& config);

// Shapes by depth, for synthetic models: "v0-d20" is nanochat's generation V0, depth 20; "llama-d20" a Llama
// of the same depth and width, with a gated feed-forward. Throws invalid_argument naming the text.
ModelConfig nanochat_shape(std::string_view name);

}  // namespace nanochat
