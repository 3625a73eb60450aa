// What a fleet consists of: one JSON file. Format: docs/warm.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "encoder/encoder_forward.h"
#include "encoder/projection.h"
#include "infer/embed_encoder.h"
#include "model/model.h"
#include "warm/warm_config.h"

namespace nanochat {

enum class ComponentKind : int32_t {
  decoder,
  encoder,
  fusion,
  // Without weights, so without an address: computed.
  temporal_recent,
  temporal_periodic,
  temporal_positional,
  hyperdimensional,
};
std::string_view component_kind_name(ComponentKind kind);
bool has_weights(ComponentKind kind);

// The known answer that a component must give before it is warm.
struct TestSpec {
  // One of these is the input. A time is ISO 8601, a position a number as text. Neither: the tensor "input"
  // of the reference file (pixels [3, H, W] of an image encoder, rows [n, input_dim] of a fusion).
  std::string text;
  std::vector<int32_t> tokens;
  std::string reference;    // a safetensors file with the tensor "output" F32; "": the output must be finite
  double tolerance = 1e-5;  // of every element, absolute
  int64_t max_ms = 1000;    // 2000 for a fusion where the manifest says nothing
};

// A fusion's input row consists of these parts, in order.
struct FusionPart {
  std::string component;   // an id of the manifest
  int64_t width = 0;       // of its part in the row
  std::string projection;  // a safetensors file (see FusionProjection); "": identity or fixed signs
  // Of that component; resolve_fusion_parts() fills them in.
  EmbeddingForm form = EmbeddingForm::dense;
  int64_t native_dim = 0;
};

struct ComponentSpec {
  std::string id;
  ComponentKind kind = ComponentKind::encoder;
  std::string path;                    // of a directory; empty without weights
  std::string tokenizer_path;          // "": `path`, if a tokenizer is there
  int64_t dimension = 0;               // of its output; 0: not stated
  uint64_t expected_bytes = 0;         // of its weights in memory; 0: not stated
  std::optional<WeightDtype> weights;  // else WarmConfig::quantization
  std::string checksum;                // 32 hex digits of XXH3-128 (Model::checksum()), or ""
  // What nanochat_embed_options says, for texts of an encoder or a decoder.
  TextPooling pooling = TextPooling::as_configured;
  Normalization normalization = Normalization::as_configured;
  TextRole role = TextRole::none;
  std::string prefix;
  int64_t max_tokens = 0;               // 0: as the model's files say
  double reference_time = 0.0;          // temporal_recent: the present, in seconds since 1970; 0: its default
  std::vector<FusionPart> parts;        // of a fusion
  std::vector<std::string> depends_on;  // ids that are warm before this one is loaded; parts are added
  TestSpec test;
};

struct Manifest {
  std::string name;
  std::string path;    // of the file
  std::string folder;  // of the file
  WarmSettings settings;
  std::vector<ComponentSpec> components;  // in the order of the file
};

// Throws file_not_found, format_invalid, config_invalid (file, component, key, value, what was expected),
// model_already_registered (an id twice), model_not_registered (a part or dependency that is no component),
// config_invalid for a cycle. An unknown key is refused by name.
Manifest read_manifest(const std::string& path);
Manifest parse_manifest(std::string_view text, const std::string& path);

// `base` joined with a relative path; an absolute path stays.
std::string resolve_path(const std::string& base, const std::string& path);

}  // namespace nanochat
