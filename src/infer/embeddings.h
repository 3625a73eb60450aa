// What embedding gives: vectors of several inputs, whichever way they were made.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/encoder_forward.h"
#include "encoder/fuse_moe_routing.h"
#include "encoder/hypervector.h"

namespace nanochat {

// Rows [width] of input i: first_row[i] to first_row[i + 1]. Without rows: `sparse` or `bits` has them
// instead.
struct Embeddings {
  int64_t width = 0;
  std::vector<int64_t> first_row;       // [n_inputs + 1]
  std::vector<int64_t> n_tokens;        // [n_inputs] evaluated
  std::vector<float> values;            // [rows, width]
  std::vector<SparseVector> sparse;     // [n_inputs] or empty
  std::vector<Hypervector> bits;        // [n_inputs] or empty
  std::vector<RoutingWeights> routing;  // [n_inputs] of fused vectors, else empty
  bool has_token_rows = false;          // a row for each token

  size_t n_inputs() const { return n_tokens.size(); }
};

}  // namespace nanochat
