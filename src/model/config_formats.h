// The parsers and writers behind parse_model_config() and model_config_json(), one pair per family of files.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/config_reader.h"

namespace nanochat {

// Ceilings of every dimension: far above any model, low enough that no product of them overflows 64 bits.
namespace config_limit {
inline constexpr Range<int64_t> kLayers{1, 4096};
inline constexpr Range<int64_t> kHeads{1, 65536};
inline constexpr Range<int64_t> kHeadDim{2, 65536};
inline constexpr Range<int64_t> kWidth{1,
                                       int64_t{1} << 20};  // n_embd; n_head * head_dim is held to twice that
inline constexpr Range<int64_t> kHidden{1, int64_t{1} << 22};
inline constexpr Range<int64_t> kVocabulary{1, int64_t{1} << 24};
inline constexpr Range<int64_t> kSequence{1, int64_t{1} << 22};
inline constexpr Range<int64_t> kToken{0, (int64_t{1} << 24) - 1};
inline constexpr Range<double> kRopeBase{1.0, 1e12};
inline constexpr Range<double> kEpsilon{0.0, 1.0};
inline constexpr Range<double> kSoftcap{0.0, 1e6};
inline constexpr Range<double> kGain{0.0, 1e3};
}  // namespace config_limit

ModelConfig parse_nanochat_config(const ConfigReader& reader, std::span<const NamedShape> tensors);
ModelConfig parse_hf_nanochat_config(const ConfigReader& reader);
ModelConfig parse_hf_llama_config(const ConfigReader& reader);
Json nanochat_config_json(const ModelConfig& config);
Json hugging_face_config_json(const ModelConfig& config);

// quantization_config in the form of compressed-tensors, format "int-quantized": int8 weights with one scale
// for each output, X.weight and X.weight_scale. Refuses by name every other form. False: there is none.
bool read_quantization_config(const ConfigReader& reader);

// Vocabularies are padded to this many rows on disk.
inline constexpr int64_t kVocabularyMultiple = 64;
// The reference builds rope tables of this many contexts.
inline constexpr int64_t kRopeContexts = 10;

// One dated state of the reference's architecture: everything that the seven primary fields do not say.
struct NanochatGeneration {
  enum class ShortWindow { none, half, third, quarter };
  std::string_view name;  // "generation" in config.json
  std::string_view architecture;
  double rope_base;
  DType rope_table_dtype;
  float qk_gain;
  ShortWindow short_window;  // of the letter S; the last two are rounded up to 128
  int64_t ve_gate_channels;  // 0: no value embeddings
  float ve_gate_scale;
  int64_t smear_channels;
  bool has_residual_scalars, has_backout;
};
std::span<const NanochatGeneration> nanochat_generations();

// Fills what generation and primary fields imply: head_dim, padded vocabulary, windows, layers with value
// embeddings and the rest. `config` has the primary fields and window_pattern.
void apply_generation(const NanochatGeneration& generation, ModelConfig& config);

}  // namespace nanochat
