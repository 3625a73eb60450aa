#include <algorithm>

#include "base/error.h"
#include "model/arena.h"
#include "model/config_formats.h"
#include "model/decoder.h"
#include "model/kv_page.h"
#include "model/weight_layout.h"

namespace nanochat {

namespace {

// Parts of a fused matrix that differ become f32, which holds either.
void add_part(const ModelConfig& config, const TensorSlot& slot, DType dtype, PackedMatrix& matrix) {
  if (matrix.n == 0) matrix.dtype = dtype;
  if (matrix.dtype != dtype) matrix.dtype = DType::f32;
  matrix.n += used_rows(config, slot);
  matrix.k = slot.width();
}

// Dtypes and extents of all matrices and the dtype of the tables.
void describe_weights(const ModelConfig& config, std::span<const TensorSlot> slots,
                      std::span<const DType> stored, const ModelOptions& options, Weights& weights) {
  weights.layers.resize(static_cast<size_t>(config.n_layer));
  weights.table_dtype = DType::bf16;
  for (size_t i = 0; i < slots.size(); ++i) {
    const TensorKind kind = kind_of(slots[i].role);
    if (kind == TensorKind::matrix) {
      const DType dtype = loaded_matrix_dtype(stored[i], options.weight_dtype);
      if (dtype == DType::i8) require_int8_width(slots[i]);
      add_part(config, slots[i], dtype, matrix_of(weights, slots[i]));
    } else if (kind == TensorKind::table && loaded_dtype(stored[i], options.weight_dtype) == DType::f32) {
      weights.table_dtype = DType::f32;
    }
  }
}

uint64_t table_bytes(const Weights& weights, const TensorSlot& slot) {
  return static_cast<uint64_t>(slot.n_elements()) * static_cast<uint64_t>(dtype_size(weights.table_dtype));
}

uint64_t packed_bytes(const PackedMatrix& matrix) {
  return static_cast<uint64_t>(PackedMatrix::packed_bytes(matrix.dtype, matrix.n, matrix.k));
}

}  // namespace

DType loaded_dtype(DType stored, WeightDtype wanted) {
  if (wanted == WeightDtype::f32) return DType::f32;
  if (wanted == WeightDtype::bf16 || wanted == WeightDtype::i8 || wanted == WeightDtype::f8)
    return DType::bf16;
  return stored == DType::f32 ? DType::f32 : DType::bf16;
}

DType loaded_matrix_dtype(DType stored, WeightDtype wanted) {
  if (wanted == WeightDtype::f8) return DType::f8_e4m3;
  if (stored == DType::f8_e4m3 && wanted == WeightDtype::as_stored) return stored;
  const bool stays_i8 = stored == DType::i8 && wanted == WeightDtype::as_stored;
  return stays_i8 || wanted == WeightDtype::i8 ? DType::i8 : loaded_dtype(stored, wanted);
}

void require_int8_width(const TensorSpec& tensor) {
  if (tensor.width() <= PackedMatrix::kMostInt8Inputs) return;
  throw Error(Status::unsupported)
      .subject(tensor.name)
      .say("tensor '{}' has {} inputs, int8 weights have at most {}", tensor.name, tensor.width(),
           PackedMatrix::kMostInt8Inputs)
      .hint("load the model with bf16 or f32 weights");
}

int64_t rope_positions(const ModelConfig& config) {
  return config.format == ModelFormat::hf_llama ? config.sequence_len : kRopeContexts * config.sequence_len;
}

uint64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  return page_bytes(config, dtype) / kPagePositions;
}

WeightLayout lay_out_weights(const ModelConfig& config, std::span<const TensorSlot> slots,
                             std::span<const DType> stored, const ModelOptions& options, void* base) {
  if (options.weight_dtype == WeightDtype::f8) {
    throw Error(Status::unsupported)
        .subject("weights")
        .say("fp8 weights are for encoders, expected as stored, f32, bf16 or int8 for a decoder");
  }
  WeightLayout layout{};
  Weights& weights = layout.weights;
  describe_weights(config, slots, stored, options, weights);
  layout.weight_dtype = WeightDtype::bf16;

  Arena arena(base);
  for (const TensorSlot& slot : slots) {
    switch (kind_of(slot.role)) {
      case TensorKind::matrix: {
        PackedMatrix& matrix = matrix_of(weights, slot);
        const bool is_i8 = matrix.dtype == DType::i8 || layout.weight_dtype == WeightDtype::i8;
        if (is_i8 || matrix.dtype == DType::f32)
          layout.weight_dtype = is_i8 ? WeightDtype::i8 : WeightDtype::f32;
        // One piece per matrix: taken by the part that holds its first row.
        if (first_matrix_row(config, slot.role) == 0) matrix.data = arena.take<void>(packed_bytes(matrix));
        break;
      }
      case TensorKind::table:
        table_of(weights, slot) = arena.take<void>(table_bytes(weights, slot));
        break;
      case TensorKind::vector:
        vector_of(weights, slot) =
            arena.take<float>(static_cast<uint64_t>(slot.n_elements()) * sizeof(float));
        break;
      case TensorKind::scalars:
        break;
    }
  }
  weights.n_rope_positions = rope_positions(config);
  const uint64_t rope_bytes =
      static_cast<uint64_t>(weights.n_rope_positions * (config.head_dim / 2)) * sizeof(float);
  weights.rope_cos = arena.take<float>(rope_bytes);
  weights.rope_sin = arena.take<float>(rope_bytes);
  layout.n_bytes = arena.used();
  return layout;
}

ForwardBuffers lay_out_forward(const ModelConfig& config, const ForwardSizes& sizes, void* base) {
  Arena arena(base);
  const auto rows = [&](int64_t width) {
    return arena.take<float>(static_cast<uint64_t>(sizes.n_rows * width) * sizeof(float));
  };
  const bool is_gated = config.activation == Activation::swiglu;
  ForwardBuffers buffers{};
  buffers.x = rows(config.n_embd);
  buffers.normed = rows(config.n_embd);
  buffers.qkv = rows((config.n_head + 2 * config.n_kv_head) * config.head_dim);
  buffers.attention = rows(config.n_head * config.head_dim);
  buffers.hidden = rows(is_gated ? 2 * config.mlp_hidden : config.mlp_hidden);
  if (is_gated) buffers.gated = rows(config.mlp_hidden);
  if (config.smear_channels > 0) buffers.embedding = rows(config.n_embd);
  if (config.has_residual_scalars) buffers.first = rows(config.n_embd);
  if (config.backout_layer >= 0) buffers.backout = rows(config.n_embd);
  const int64_t n_logits = std::min(sizes.n_logit_rows, kLogitRows) * config.vocab_size;
  buffers.logits = arena.take<float>(static_cast<uint64_t>(n_logits) * sizeof(float));
  buffers.n_bytes = arena.used();
  return buffers;
}

ModelPlan plan_model(const ModelConfig& config, std::span<const TensorSlot> slots,
                     std::span<const DType> stored, const ModelOptions& options) {
  const WeightLayout layout = lay_out_weights(config, slots, stored, options, nullptr);
  ModelPlan plan{};
  plan.weight_bytes = Memory::allocation_bytes(PoolKind::model, layout.n_bytes);
  plan.kv_bytes_per_token = kv_bytes_per_token(config, DType::f32);
  plan.working_bytes = Memory::allocation_bytes(
      PoolKind::working, lay_out_forward(config, {kForwardRows, kForwardRows}, nullptr).n_bytes);
  for (size_t i = 0; i < slots.size(); ++i) {
    const TensorSlot& slot = slots[i];
    plan.file_bytes += static_cast<uint64_t>(slot.n_elements() * dtype_size(stored[i]));
    plan.n_parameters += slot.n_elements();
    switch (kind_of(slot.role)) {
      case TensorKind::matrix:
        plan.flops_per_decoded_token += static_cast<uint64_t>(2 * used_rows(config, slot) * slot.width());
        if (first_matrix_row(config, slot.role) == 0) {
          plan.bytes_per_decoded_token += packed_bytes(matrix_of(layout.weights, slot));
        }
        break;
      case TensorKind::table:
        plan.bytes_per_decoded_token +=
            static_cast<uint64_t>(slot.width() * dtype_size(layout.weights.table_dtype));
        break;
      case TensorKind::vector:
        plan.bytes_per_decoded_token += static_cast<uint64_t>(slot.n_elements()) * sizeof(float);
        if (slot.shape.size() == 2)
          plan.flops_per_decoded_token += static_cast<uint64_t>(2 * slot.n_elements());
        break;
      case TensorKind::scalars:
        break;
    }
  }
  return plan;
}

}  // namespace nanochat
