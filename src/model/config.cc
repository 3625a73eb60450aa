#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

// Collects the complaints of check_model_config in one form.
class ConfigCheck {
 public:
  explicit ConfigCheck(std::string_view file_name) : file_name_(file_name) {}

  [[noreturn]] void refuse(std::string_view field, const FormatArgument& value,
                           std::string_view expected) const {
    throw Error(Status::config_invalid)
        .subject(file_name_)
        .field("field", field)
        .field("reason", format_text("is {}, expected {}", value.text(), expected))
        .say("{}: {} is {}, expected {}", file_name_, field, value.text(), expected);
  }
  void in_range(std::string_view field, int64_t value, Range<int64_t> range) const {
    if (value < range.smallest || value > range.largest) {
      refuse(field, value, format_text("an integer from {} to {}", range.smallest, range.largest));
    }
  }
  void real_in_range(std::string_view field, double value, Range<double> range) const {
    if (!(value >= range.smallest && value <= range.largest)) {
      refuse(field, value, format_text("a number from {} to {}", range.smallest, range.largest));
    }
  }

 private:
  std::string_view file_name_;
};

void check_dimensions(const ModelConfig& config, const ConfigCheck& check) {
  check.in_range("sequence_len", config.sequence_len, config_limit::kSequence);
  check.in_range("vocab_size", config.vocab_size, config_limit::kVocabulary);
  check.in_range("padded_vocab_size", config.padded_vocab_size,
                 {config.vocab_size, round_up(config.vocab_size, kVocabularyMultiple)});
  check.in_range("n_layer", config.n_layer, config_limit::kLayers);
  check.in_range("n_head", config.n_head, config_limit::kHeads);
  check.in_range("n_kv_head", config.n_kv_head, {1, config.n_head});
  check.in_range("n_embd", config.n_embd, config_limit::kWidth);
  check.in_range("head_dim", config.head_dim, config_limit::kHeadDim);
  check.in_range("mlp_hidden", config.mlp_hidden, config_limit::kHidden);
  if (config.n_head % config.n_kv_head != 0) {
    check.refuse("n_kv_head", config.n_kv_head, format_text("a divisor of n_head = {}", config.n_head));
  }
  if (config.head_dim % 2 != 0) check.refuse("head_dim", config.head_dim, "an even number");
  if (config.n_head * config.head_dim > 2 * config_limit::kWidth.largest) {
    check.refuse("n_head * head_dim", config.n_head * config.head_dim,
                 format_text("at most {}", 2 * config_limit::kWidth.largest));
  }
}

void check_switches(const ModelConfig& config, const ConfigCheck& check) {
  check.real_in_range("rope_base", config.rope_base, config_limit::kRopeBase);
  check.real_in_range("norm_eps", config.norm_eps, config_limit::kEpsilon);
  check.real_in_range("qk_gain", config.qk_gain, config_limit::kGain);
  check.real_in_range("attn_scale", config.attn_scale, config_limit::kGain);
  check.real_in_range("logit_softcap", config.logit_softcap, config_limit::kSoftcap);
  if (config.rope_rotation_sign != 1 && config.rope_rotation_sign != -1) {
    check.refuse("rope_rotation_sign", config.rope_rotation_sign, "1 or -1");
  }
  if (std::ssize(config.window_left) != config.n_layer) {
    check.refuse("window_left", config.window_left.size(),
                 format_text("{} values, one per layer", config.n_layer));
  }
  for (const int64_t window : config.window_left) {
    check.in_range("window_left", window, {-1, config_limit::kSequence.largest});
  }
  int64_t previous = -1;
  for (const int64_t layer : config.ve_layers) {
    check.in_range("ve_layers", layer, {previous + 1, config.n_layer - 1});
    previous = layer;
  }
  if (!config.ve_layers.empty())
    check.in_range("ve_gate_channels", config.ve_gate_channels, {1, config.n_embd});
  check.real_in_range("ve_gate_scale", config.ve_gate_scale, config_limit::kGain);
  check.in_range("smear_channels", config.smear_channels, {0, config.n_embd});
  check.in_range("backout_layer", config.backout_layer, {-1, config.n_layer - 1});
}

void check_tokens(const ModelConfig& config, const ConfigCheck& check) {
  check.in_range("bos_token", config.bos_token, {-1, config.vocab_size - 1});
  for (const int32_t token : config.eos_tokens)
    check.in_range("eos_tokens", token, {0, config.vocab_size - 1});
}

}  // namespace

bool ModelConfig::has_value_embedding(int64_t layer) const {
  return std::binary_search(ve_layers.begin(), ve_layers.end(), layer);
}

void check_model_config(const ModelConfig& config, std::string_view file_name) {
  const ConfigCheck check(file_name);
  check_dimensions(config, check);
  check_switches(config, check);
  check_tokens(config, check);
}

ModelConfig parse_model_config(const Json& document, std::string_view file_name,
                               std::span<const NamedShape> tensors) {
  const ConfigReader reader(document, file_name);
  const std::string model_type = reader.text("model_type", "");
  ModelConfig config;
  if (model_type == "nanochat") {
    config = parse_hf_nanochat_config(reader);
  } else if (model_type == "llama") {
    config = parse_hf_llama_config(reader);
  } else if (reader.has("model_type")) {
    throw Error(Status::format_unsupported)
        .subject(file_name)
        .field("field", "model_type")
        .say(
            "{}: model_type is \"{}\", expected \"nanochat\", \"llama\" or a nanochat configuration without "
            "it",
            file_name, excerpt(model_type, 80));
  } else {
    config = parse_nanochat_config(reader, tensors);
  }
  read_quantization_config(reader);
  check_model_config(config, file_name);
  return config;
}

Json model_config_json(const ModelConfig& config) {
  return config.format == ModelFormat::nanochat ? nanochat_config_json(config)
                                                : hugging_face_config_json(config);
}

}  // namespace nanochat
