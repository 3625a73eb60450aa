// Vectors for texts from a decoder: its states after the final norm, pooled.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "model/model.h"

namespace nanochat {

enum class Pooling : int32_t {
  mean = 1,  // of all tokens' states
  last = 2,  // the last token's state: the one that has seen everything
  none = 3   // a row for each token
};
enum class Normalization : int32_t { l2, none };

struct EmbedOptions {
  Pooling pooling = Pooling::mean;
  Normalization normalization = Normalization::l2;  // of each row; a row of zeros stays as it is
  bool truncate = false;  // inputs longer than the model's sequence_len to their first tokens
};

// Rows [width] of input i: first_row[i] to first_row[i + 1].
struct Embeddings {
  int64_t width = 0;
  std::vector<int64_t> first_row;  // [n_inputs + 1]
  std::vector<int64_t> n_tokens;   // [n_inputs] evaluated
  std::vector<float> values;       // [rows, width]
};

// The bits of an input's rows do not depend on the other inputs. Inputs share passes without padding. Throws
// invalid_argument (an empty input), out_of_range (a token), context_full (longer than sequence_len), each
// naming the input; and what a forward pass throws.
Embeddings embed(const std::shared_ptr<const Model>& model, std::span<const std::vector<int32_t>> inputs,
                 const EmbedOptions& options, const Watch& watch);

}  // namespace nanochat
