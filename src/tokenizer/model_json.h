// The "model" of a tokenizer.json: BPE, WordPiece, WordLevel or Unigram.
#pragma once

#include <memory>

#include "tokenizer/bpe_model.h"
#include "tokenizer/json_node.h"
#include "tokenizer/tokenizer_document.h"

namespace nanochat {

// `model` is the member without its tables, which are in `document`. A model without a type is the first of
// the four that has all its members there, as the Hugging Face library reads it. `units` is for BPE.
std::unique_ptr<const TokenModel> read_model(const JsonNode& model, const TokenizerDocument& document,
                                             BpeOptions::Units units);

}  // namespace nanochat
