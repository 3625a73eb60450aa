// The steps of a pipeline from their objects in tokenizer.json. What is not known is refused by name: a step
// left out would give wrong ids without a word.
#pragma once

#include <vector>

#include "tokenizer/json_node.h"
#include "tokenizer/pipeline_tokenizer.h"

namespace nanochat {

// Each takes the member itself, which may be null.
std::vector<NormalizerStep> read_normalizer(const JsonNode& node);
std::vector<PreTokenizerStep> read_pre_tokenizer(const JsonNode& node);
std::vector<AddedToken> read_added_tokens(const JsonNode& node);

}  // namespace nanochat
