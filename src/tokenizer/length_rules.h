// How a tokenizer.json wants lists of tokens cut and filled up, for whoever encodes many texts at once.
#pragma once

#include <cstddef>

#include "tokenizer/tokenizer.h"

namespace nanochat {

class JsonNode;

LengthRules read_length_rules(const JsonNode& truncation, const JsonNode& padding);  // each may be null

}  // namespace nanochat
