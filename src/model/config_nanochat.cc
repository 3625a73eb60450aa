// config.json of nanochat's own checkpoints: seven primary fields, the generation, and what follows from
// them.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/checked.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

using Short = NanochatGeneration::ShortWindow;

// Newest last. The dated ones lie between the two that were released as such.
constexpr std::array kGenerations{
    NanochatGeneration{"V0", "nanochat-v0", 1e4, DType::bf16, 1.0F, Short::none, 0, 0.0F, 0, false, false},
    NanochatGeneration{"2026-01-11", "nanochat-2026-01-11", 1e4, DType::bf16, 1.0F, Short::half, 0, 0.0F, 0,
                       true, false},
    NanochatGeneration{"2026-01-18", "nanochat-2026-01-18", 1e4, DType::bf16, 1.0F, Short::half, 32, 2.0F, 0,
                       true, false},
    NanochatGeneration{"2026-03-09", "nanochat-2026-03-09", 1e5, DType::f32, 1.15F, Short::third, 12, 3.0F, 0,
                       true, false},
    NanochatGeneration{"V1", "nanochat-v1", 1e5, DType::f32, 1.2F, Short::quarter, 12, 3.0F, 24, true, true},
};

const NanochatGeneration& generation_named(const ConfigReader& reader) {
  const std::string name = reader.text("generation", "");
  std::string known;
  for (const NanochatGeneration& generation : kGenerations) {
    if (generation.name == name) return generation;
    known += format_text("{}\"{}\"", known.empty() ? "" : ", ", generation.name);
  }
  reader.refuse("generation", format_text("one of {}", known));
}

// Checkpoints of the reference carry no version; their tensors tell them apart.
const NanochatGeneration& generation_of_tensors(const ConfigReader& reader,
                                                std::span<const NamedShape> tensors) {
  if (tensors.empty()) reader.refuse("generation", "\"V0\" or \"V1\", since the tensors are not known");
  const auto find = [&](auto matches) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), matches);
    return found == tensors.end() ? nullptr : &*found;
  };
  const auto named = [&](std::string_view name) {
    return find([=](const NamedShape& tensor) { return tensor.name == name; });
  };
  if (named("smear_gate.weight") != nullptr) return kGenerations[4];
  if (named("resid_lambdas") == nullptr) return kGenerations[0];
  const NamedShape* gate =
      find([](const NamedShape& tensor) { return tensor.name.ends_with(".attn.ve_gate.weight"); });
  if (gate == nullptr) return kGenerations[1];
  const int64_t channels = gate->shape.size() == 2 ? gate->shape[1] : -1;
  if (channels == kGenerations[2].ve_gate_channels) return kGenerations[2];
  if (channels == kGenerations[3].ve_gate_channels) return kGenerations[3];
  throw Error(Status::format_unsupported)
      .subject(reader.file_name())
      .say("{}: tensor '{}' has shape {}, expected a width of 12 or 32: no known generation",
           reader.file_name(), excerpt(gate->name), gate->shape);
}

int64_t short_window(Short rule, int64_t sequence_len) {
  constexpr int64_t kTile = 128;
  switch (rule) {
    case Short::quarter:
      return round_up((sequence_len + 3) / 4, kTile);
    case Short::third:
      return round_up((sequence_len + 2) / 3, kTile);
    case Short::half:
      return sequence_len / 2;
    case Short::none:
      break;
  }
  return -1;
}

void read_primary(const ConfigReader& reader, ModelConfig& config) {
  config.sequence_len = reader.integer("sequence_len", config_limit::kSequence);
  config.vocab_size = reader.integer("vocab_size", config_limit::kVocabulary);
  config.n_layer = reader.integer("n_layer", config_limit::kLayers);
  config.n_head = reader.integer("n_head", config_limit::kHeads);
  config.n_embd = reader.integer("n_embd", config_limit::kWidth);
  if (config.n_embd % config.n_head != 0) {
    reader.refuse("n_embd", format_text("a multiple of n_head = {}", config.n_head));
  }
  config.n_kv_head = reader.integer("n_kv_head", {1, config.n_head});
  if (config.n_head % config.n_kv_head != 0) {
    reader.refuse("n_kv_head", format_text("a divisor of n_head = {}", config.n_head));
  }
  config.window_pattern = reader.text("window_pattern", "");
  const bool letters = config.window_pattern.find_first_not_of("SLsl") == std::string::npos;
  if (!letters || config.window_pattern.size() > static_cast<size_t>(config_limit::kLayers.largest)) {
    reader.refuse("window_pattern", "letters S and L");
  }
}

// Values that a checkpoint may choose freely.
void read_free_fields(const ConfigReader& reader, ModelConfig& config) {
  config.rope_base = reader.number("rope_base", config_limit::kRopeBase, config.rope_base);
  config.norm_eps = static_cast<float>(reader.number("norm_eps", config_limit::kEpsilon, config.norm_eps));
  config.qk_gain = static_cast<float>(reader.number("qk_gain", config_limit::kGain, config.qk_gain));
  config.logit_softcap =
      static_cast<float>(reader.number("logit_softcap", config_limit::kSoftcap, config.logit_softcap));
  config.ve_gate_scale =
      static_cast<float>(reader.number("ve_gate_scale", config_limit::kGain, config.ve_gate_scale));
  const int64_t sign = reader.integer("rope_rotation_sign", {-1, 1}, config.rope_rotation_sign);
  if (sign == 0) reader.refuse("rope_rotation_sign", "1 or -1");
  config.rope_rotation_sign = static_cast<int32_t>(sign);
  const bool bf16 = config.rope_table_dtype == DType::bf16;
  const std::string dtype = reader.text("rope_table_dtype", bf16 ? "bfloat16" : "float32");
  if (dtype != "bfloat16" && dtype != "float32")
    reader.refuse("rope_table_dtype", "\"bfloat16\" or \"float32\"");
  config.rope_table_dtype = dtype == "bfloat16" ? DType::bf16 : DType::f32;
}

// Values that follow from the others: written for the reader's convenience, so they must agree.
void check_derived_fields(const ConfigReader& reader, const ModelConfig& config) {
  reader.require_integer("head_dim", config.head_dim);
  reader.require_integer("padded_vocab_size", config.padded_vocab_size);
  reader.require_integer("mlp_hidden", config.mlp_hidden);
  reader.require_integer("rope_table_len", kRopeContexts * config.sequence_len);
  reader.require_number("attn_scale", config.attn_scale);
  reader.require_integers("window_left", config.window_left);
  reader.require_integers("ve_layers", config.ve_layers);
  reader.require_integer("ve_gate_channels", config.ve_gate_channels);
  reader.require_integer("smear_channels", config.smear_channels);
  reader.require_integer("backout_layer", config.backout_layer);
}

// Our own format: a name that is none of these may be a misspelt field, so it is refused.
void refuse_unknown_fields(const ConfigReader& reader) {
  static constexpr std::string_view kKnown[] = {"generation",
                                                "reference_commit",
                                                "sequence_len",
                                                "vocab_size",
                                                "n_layer",
                                                "n_head",
                                                "n_kv_head",
                                                "n_embd",
                                                "window_pattern",
                                                "padded_vocab_size",
                                                "head_dim",
                                                "rope_base",
                                                "rope_rotation_sign",
                                                "rope_table_dtype",
                                                "rope_table_len",
                                                "norm_eps",
                                                "norm_eps_note",
                                                "qk_gain",
                                                "attn_scale",
                                                "mlp_hidden",
                                                "logit_softcap",
                                                "compute_dtype",
                                                "window_left",
                                                "ve_layers",
                                                "ve_gate_channels",
                                                "ve_gate_scale",
                                                "smear_channels",
                                                "backout_layer",
                                                "quantization_config",
                                                "seed",
                                                "model_type"};
  for (const auto& item : reader.json().items()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), item.key) == std::end(kKnown)) {
      reader.refuse(item.key, "no field of this name in a nanochat configuration");
    }
  }
}

}  // namespace

std::span<const NanochatGeneration> nanochat_generations() { return kGenerations; }

void apply_generation(const NanochatGeneration& generation, ModelConfig& config) {
  config.format = ModelFormat::nanochat;
  config.architecture = generation.architecture;
  config.head_dim = config.n_embd / config.n_head;
  config.padded_vocab_size = round_up(config.vocab_size, kVocabularyMultiple);
  config.mlp_hidden = 4 * config.n_embd;
  config.attn_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  config.rope_base = generation.rope_base;
  config.rope_table_dtype = generation.rope_table_dtype;
  config.qk_gain = generation.qk_gain;

  config.window_left.assign(static_cast<size_t>(config.n_layer), -1);
  if (generation.short_window != Short::none) {
    const std::string pattern = config.window_pattern.empty() ? "L" : config.window_pattern;
    for (size_t i = 0; i < config.window_left.size(); ++i) {
      const char letter = pattern[i % pattern.size()];
      const bool is_long = letter == 'L' || letter == 'l' || i + 1 == config.window_left.size();
      config.window_left[i] =
          is_long ? config.sequence_len : short_window(generation.short_window, config.sequence_len);
    }
  }
  config.ve_gate_channels = generation.ve_gate_channels;
  config.ve_gate_scale = generation.ve_gate_scale;
  config.ve_layers.clear();
  for (int64_t i = (config.n_layer - 1) % 2; generation.ve_gate_channels > 0 && i < config.n_layer; i += 2) {
    config.ve_layers.push_back(i);
  }
  config.smear_channels = generation.smear_channels;
  config.has_residual_scalars = generation.has_residual_scalars;
  config.backout_layer = generation.has_backout ? config.n_layer / 2 : -1;
}

ModelConfig parse_nanochat_config(const ConfigReader& reader, std::span<const NamedShape> tensors) {
  refuse_unknown_fields(reader);
  ModelConfig config;
  read_primary(reader, config);
  const NanochatGeneration& generation =
      reader.has("generation") ? generation_named(reader) : generation_of_tensors(reader, tensors);
  if (generation.short_window == Short::none && !config.window_pattern.empty() &&
      config.window_pattern.find_first_of("Ss") != std::string::npos) {
    reader.refuse("window_pattern", format_text("null or \"L\" in generation {}", generation.name));
  }
  apply_generation(generation, config);
  read_free_fields(reader, config);
  check_derived_fields(reader, config);
  return config;
}

Json nanochat_config_json(const ModelConfig& config) {
  Json json = Json::object();
  for (const NanochatGeneration& generation : kGenerations) {
    if (generation.architecture == config.architecture) json["generation"] = generation.name;
  }
  if (!json.contains("generation")) {
    throw Error(Status::config_invalid)
        .say("architecture is \"{}\", expected one of nanochat's generations", config.architecture);
  }
  json["sequence_len"] = config.sequence_len;
  json["vocab_size"] = config.vocab_size;
  json["n_layer"] = config.n_layer;
  json["n_head"] = config.n_head;
  json["n_kv_head"] = config.n_kv_head;
  json["n_embd"] = config.n_embd;
  json["window_pattern"] = config.window_pattern.empty() ? Json(nullptr) : Json(config.window_pattern);
  json["padded_vocab_size"] = config.padded_vocab_size;
  json["head_dim"] = config.head_dim;
  json["rope_base"] = config.rope_base;
  json["rope_rotation_sign"] = config.rope_rotation_sign;
  json["rope_table_dtype"] = config.rope_table_dtype == DType::bf16 ? "bfloat16" : "float32";
  json["rope_table_len"] = kRopeContexts * config.sequence_len;
  json["norm_eps"] = shortest_decimal(config.norm_eps);
  json["qk_gain"] = shortest_decimal(config.qk_gain);
  json["attn_scale"] = shortest_decimal(config.attn_scale);
  json["mlp_hidden"] = config.mlp_hidden;
  json["logit_softcap"] = shortest_decimal(config.logit_softcap);
  json["window_left"] = config.window_left;
  if (config.ve_gate_channels > 0) {
    json["ve_layers"] = config.ve_layers;
    json["ve_gate_channels"] = config.ve_gate_channels;
    json["ve_gate_scale"] = shortest_decimal(config.ve_gate_scale);
  }
  if (config.smear_channels > 0) json["smear_channels"] = config.smear_channels;
  if (config.backout_layer >= 0) json["backout_layer"] = config.backout_layer;
  return json;
}

}  // namespace nanochat
