// Vectors for texts from a decoder: its states after the final norm, pooled.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "infer/embeddings.h"
#include "model/model.h"

namespace nanochat {

enum class Pooling : int32_t {
  mean = 1,  // of all tokens' states
  last = 2,  // the last token's state: the one that has seen everything
  none = 3   // a row for each token
};

struct EmbedOptions {
  Pooling pooling = Pooling::mean;
  bool is_unit = true;     // each row to length 1; a row of zeros stays as it is
  bool truncate = false;   // inputs longer than max_tokens to their first tokens
  int64_t max_tokens = 0;  // of an input; 0: the model's sequence_len
};

// Throws out_of_range: max_tokens is more than the model's context.
int64_t most_tokens(const Model& model, const EmbedOptions& options);

// The bits of an input's rows do not depend on the other inputs. Inputs share passes without padding. Throws
// invalid_argument (an empty input), out_of_range (a token), context_full (longer than sequence_len), each
// naming the input; and what a forward pass throws.
Embeddings embed(const std::shared_ptr<const Model>& model, std::span<const std::vector<int32_t>> inputs,
                 const EmbedOptions& options, const Watch& watch);

}  // namespace nanochat
