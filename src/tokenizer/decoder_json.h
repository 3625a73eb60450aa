// What comes after the model in a tokenizer.json: decoder and post-processor. What is not known is refused by
// name.
#pragma once

#include <vector>

#include "tokenizer/json_node.h"
#include "tokenizer/pipeline_tokenizer.h"

namespace nanochat {

// Each takes the member itself, which may be null.
std::vector<DecoderStep> read_decoder(const JsonNode& node);

// What is put around one text. Templates for pairs of texts are kept in the file, and not used.
struct PostProcessorTokens {
  std::vector<TokenId> prefix, suffix;
};
PostProcessorTokens read_post_processor(const JsonNode& node);
SpanTrim read_span_trim(const JsonNode& post_processor);

}  // namespace nanochat
