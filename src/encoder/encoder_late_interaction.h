// ColBERT's texts: a marker behind [CLS], queries filled up with [MASK], documents without punctuation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "encoder/encoder_forward.h"

namespace nanochat {

struct LateInteraction {
  int32_t query_marker = 1, document_marker = 2;  // [unused0], [unused1] of BERT's vocabulary
  int32_t mask_token = 103;
  int64_t query_length = 32;            // tokens of a query, whatever its text
  bool masks_are_seen = false;          // by the other tokens
  std::vector<int32_t> skipped_tokens;  // ascending; of a document: their vectors are left out
};

// A text's tokens and how many of them are seen.
struct LateText {
  std::vector<int32_t> tokens;
  int64_t n_attended = 0;

  TextInput input() const { return {tokens, {}, n_attended}; }
};

// `tokens` begin with [CLS] and end with [SEP]. A query that is too long loses tokens before its last one.
// Throws invalid_argument: fewer than 2 tokens, a query_length below 3.
LateText late_query(std::span<const int32_t> tokens, const LateInteraction& options);
LateText late_document(std::span<const int32_t> tokens, int64_t max_tokens, const LateInteraction& options);

// Numbers of the tokens whose vectors count.
std::vector<int64_t> kept_tokens(std::span<const int32_t> document, const LateInteraction& options);

}  // namespace nanochat
