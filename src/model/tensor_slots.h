// Every tensor of a model by role: its name and shape on disk. What load, plan, save and random weights
// share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/model.h"
#include "model/tensor_spec.h"

namespace nanochat {

enum class TensorRole : int32_t {
  // matrices, packed
  lm_head,
  q,
  k,
  v,
  o,
  mlp_gate,
  mlp_in,
  mlp_out,
  // tables, plain rows
  embedding,
  value_embedding,
  // vectors, fp32
  attention_norm,
  mlp_norm,
  final_norm,
  value_gate,
  smear_gate,
  // scalars, held by the host
  resid_lambdas,
  x0_lambdas,
  smear_lambda,
  backout_lambda,
};
TensorKind kind_of(TensorRole role);

struct TensorSlot : TensorSpec {
  TensorRole role;
  int64_t layer;  // -1: none
};

// In the order in which a forward pass meets them. With a tied head the one table has the role lm_head.
std::vector<TensorSlot> tensor_slots(const ModelConfig& config);

// Buffers that old exporters write although they are recomputed, and the copy of a tied head.
bool is_ignored_tensor(const ModelConfig& config, std::string_view name);

// Where a slot's rows go. Only for the kind named.
PackedMatrix& matrix_of(Weights& weights, const TensorSlot& slot);
const PackedMatrix& matrix_of(const Weights& weights, const TensorSlot& slot);
int64_t first_matrix_row(const ModelConfig& config, TensorRole role);  // of the slot in its fused matrix
int64_t used_rows(const ModelConfig& config, const TensorSlot& slot);  // lm_head: without the padding rows
const void*& table_of(Weights& weights, const TensorSlot& slot);
const float*& vector_of(Weights& weights, const TensorSlot& slot);
float& scalar_of(Weights& weights, const TensorSlot& slot, int64_t index);
const void* table_of(const Weights& weights, const TensorSlot& slot);
const float* vector_of(const Weights& weights, const TensorSlot& slot);
float scalar_of(const Weights& weights, const TensorSlot& slot, int64_t index);

}  // namespace nanochat
