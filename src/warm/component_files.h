// What lies in the files of a component besides weights, and what its manifest entry says to those who read
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "encoder/projection.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"
#include "warm/manifest.h"
#include "warm/warm_config.h"

namespace nanochat {

ModelOptions model_options(const ComponentSpec& spec, const WarmConfig& config);  // of a fusion too
EncoderOptions encoder_options(const ComponentSpec& spec, const WarmConfig& config);

// The directory of its weights.
std::string weights_folder(const ComponentSpec& spec, const WarmConfig& config);

// Throws model_load_failed if the directory holds something that is known to be of another kind.
void refuse_other_kind(const ComponentSpec& spec, const std::string& folder);

// Part `index` of a fusion's row, after resolve_fusion_parts(). Views into `spec`.
FusionInput fusion_input_of(const ComponentSpec& spec, size_t index);

// These speak the errors of Component::load(). nullptr: no tokenizer is named, and none lies beside the
// weights.
std::shared_ptr<const Tokenizer> read_tokenizer(const ComponentSpec& spec, const WarmConfig& config);
std::vector<FusionProjection> read_projections(const ComponentSpec& spec, const WarmConfig& config);

// The bytes that the projection of a part will take, from headers.
uint64_t plan_projection(const ComponentSpec& spec, size_t part, const WarmConfig& config);

struct ReferenceFile {
  std::vector<float> input, output;  // flat; empty: not there
};
// Throws as above, and model_validation_failed for a value that is not finite.
ReferenceFile read_reference(const ComponentSpec& spec, const WarmConfig& config);

// "Model validation failed for {id}: {reason}".
Error validation_failure(const ComponentSpec& spec, const std::string& reason);

}  // namespace nanochat
