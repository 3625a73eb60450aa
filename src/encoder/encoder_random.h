// Encoders with random weights as directories, for tests and samples.
#pragma once

#include <cstdint>
#include <string>

#include "base/cancel.h"
#include "base/json.h"

namespace nanochat {

// Writes config.json as it is given (Hugging Face's form) and a model.safetensors with the tensors of such a
// model in fp32: the weights that Encoder::create_random() gives for the same seed. The folder is created; no
// tokenizer is written. Throws what parse_encoder_config() throws, file_io, cancelled.
void write_random_encoder(const std::string& folder, const Json& config, uint64_t seed, const Watch& watch);

}  // namespace nanochat
