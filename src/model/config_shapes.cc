// Shapes by depth: the reference's, and a Llama of about the same size.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/checked.h"
#include "base/error.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

constexpr int64_t kWidthPerLayer = 64;
constexpr int64_t kHeadWidth = 128;
constexpr int64_t kContext = 2048;
constexpr int64_t kHiddenMultiple = 256;  // of Llama's feed-forward width
constexpr Range<int64_t> kDepth{1, 256};

// "v0-d20": generation and depth; false if the text is anything else.
bool split_shape_name(std::string_view name, std::string_view& generation, int64_t& depth) {
  const size_t dash = name.find("-d");
  if (dash == std::string_view::npos) return false;
  generation = name.substr(0, dash);
  const std::string_view digits = name.substr(dash + 2);
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), depth);
  return result.ec == std::errc() && result.ptr == digits.data() + digits.size() &&
         depth >= kDepth.smallest && depth <= kDepth.largest &&
         (generation == "v0" || generation == "v1" || generation == "llama");
}

void set_heads(std::string_view name, ModelConfig& config) {
  config.n_head = (config.n_embd + kHeadWidth - 1) / kHeadWidth;
  config.n_kv_head = config.n_head;
  if (config.n_embd % config.n_head == 0 && config.n_embd / config.n_head % 2 == 0) return;
  throw Error(Status::invalid_argument)
      .subject(name)
      .say("model shape \"{}\": width {} does not divide into {} heads of even width", name, config.n_embd,
           config.n_head);
}

// A gated feed-forward of 8/3 of the width has as many parameters as a plain one of 4 times the width.
ModelConfig llama_shape(std::string_view name, int64_t depth) {
  ModelConfig config;
  config.format = ModelFormat::hf_llama;
  config.architecture = "llama";
  config.sequence_len = kContext;
  config.vocab_size = 65536;
  config.padded_vocab_size = config.vocab_size;
  config.n_layer = depth;
  config.n_embd = kWidthPerLayer * depth;
  set_heads(name, config);
  config.head_dim = config.n_embd / config.n_head;
  config.mlp_hidden = std::max(config.n_embd * 8 / 3 / kHiddenMultiple, int64_t{1}) * kHiddenMultiple;
  config.rope_rotation_sign = 1;
  config.norm_eps = 1e-5F;
  config.norm_weight = NormWeight::present;
  config.embedding_norm = EmbeddingNorm::none;
  config.qk_norm = QkNorm::none;
  config.attn_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  config.activation = Activation::swiglu;
  config.logit_softcap = 0.0F;
  config.window_left.assign(static_cast<size_t>(depth), -1);
  check_model_config(config, name);
  return config;
}

}  // namespace

ModelConfig nanochat_shape(std::string_view name) {
  std::string_view generation;
  int64_t depth = 0;
  if (!split_shape_name(name, generation, depth)) {
    throw Error(Status::invalid_argument)
        .subject(name)
        .say(
            "model shape is \"{}\", expected v0-d<depth>, v1-d<depth> or llama-d<depth> with a depth from {} "
            "to {}",
            name, kDepth.smallest, kDepth.largest);
  }
  if (generation == "llama") return llama_shape(name, depth);
  const bool is_v1 = generation == "v1";
  ModelConfig config;
  config.sequence_len = kContext;
  config.n_layer = depth;
  config.vocab_size = is_v1 ? 32768 : 65536;
  config.n_embd = is_v1 ? round_up(kWidthPerLayer * depth, kHeadWidth) : kWidthPerLayer * depth;
  set_heads(name, config);
  if (is_v1) config.window_pattern = "SSSL";
  const auto generations = nanochat_generations();
  apply_generation(is_v1 ? generations.back() : generations.front(), config);
  check_model_config(config, name);
  return config;
}

}  // namespace nanochat
