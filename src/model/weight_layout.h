// Where every weight lies in the one block of a model. Plan and load are the same arithmetic on different
// bases.
#pragma once

#include <cstdint>
#include <span>

#include "model/model.h"
#include "model/tensor_slots.h"

namespace nanochat {

// What a table or vector stored so is kept as, and a matrix.
DType loaded_dtype(DType stored, WeightDtype wanted);
DType loaded_matrix_dtype(DType stored, WeightDtype wanted);
// Throws unsupported for a matrix of more inputs than int8 weights can have.
void require_int8_width(const TensorSpec& tensor);

struct WeightLayout {
  Weights weights;   // pointers are base + offset; scalars are neutral
  uint64_t n_bytes;  // of the block
  WeightDtype weight_dtype;
};

// stored[i]: the dtype of slots[i] on disk, f32, bf16, f16 or (matrices) i8. A fused matrix whose parts
// differ is f32, so that nothing is lost; so are the tables. base 0 gives the sizes alone.
WeightLayout lay_out_weights(const ModelConfig& config, std::span<const TensorSlot> slots,
                             std::span<const DType> stored, const ModelOptions& options, void* base);

ModelPlan plan_model(const ModelConfig& config, std::span<const TensorSlot> slots,
                     std::span<const DType> stored, const ModelOptions& options);

// What one forward pass over up to n_rows rows takes from the working pool, with logits of up to
// n_logit_rows.
struct ForwardSizes {
  int64_t n_rows, n_logit_rows;
};
inline constexpr int64_t kLogitRows = 64;  // the head runs in pieces of this many rows

// The activations of one forward pass. What a model does not have is nullptr.
struct ForwardBuffers {
  float* x;          // [n_rows, n_embd] the residual stream
  float* normed;     // [n_rows, n_embd]
  float* qkv;        // [n_rows, q | k | v]
  float* attention;  // [n_rows, n_head * head_dim]
  float* hidden;     // [n_rows, rows of mlp_in]
  float* gated;      // [n_rows, mlp_hidden] swiglu
  float* embedding;  // [n_rows, n_embd] before the smear
  float* first;      // [n_rows, n_embd] x0
  float* backout;    // [n_rows, n_embd]
  float* logits;     // [up to kLogitRows, vocab_size]
  uint64_t n_bytes;
};
ForwardBuffers lay_out_forward(const ModelConfig& config, const ForwardSizes& sizes, void* base);

int64_t rope_positions(const ModelConfig& config);
uint64_t kv_bytes_per_token(const ModelConfig& config, DType dtype);  // of a page, divided by its positions

}  // namespace nanochat
