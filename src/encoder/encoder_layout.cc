#include "encoder/encoder_layout.h"

#include <algorithm>

#include "model/arena.h"
#include "model/weight_layout.h"
#include "tensor/kv_page.h"

namespace nanochat {

namespace {

// Types and extents of all matrices. Parts of one that differ become f32, which holds either.
void describe_matrices(std::span<const EncoderSlot> slots, std::span<const DType> stored,
                       WeightDtype wanted) {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].matrix == nullptr) continue;
    PackedMatrix& matrix = *slots[i].matrix;
    const DType dtype = loaded_matrix_dtype(stored[i], wanted);
    if (dtype == DType::i8) require_int8_width(slots[i]);
    if (slots[i].first == 0) matrix.dtype = dtype;
    if (matrix.dtype != dtype) matrix.dtype = DType::f32;
    matrix.n = slots[i].n_whole;
    matrix.k = slots[i].width();
  }
}

uint64_t packed_bytes(const PackedMatrix& matrix) {
  return static_cast<uint64_t>(PackedMatrix::packed_bytes(matrix.dtype, matrix.n, matrix.k));
}

// The narrowest type that says what was done: one matrix of int8 or fp8 tells that they were asked for.
WeightDtype dtype_of(std::span<const EncoderSlot> slots) {
  WeightDtype found = WeightDtype::bf16;
  for (const EncoderSlot& slot : slots) {
    if (slot.matrix == nullptr) continue;
    if (slot.matrix->dtype == DType::i8) return WeightDtype::i8;
    if (slot.matrix->dtype == DType::f8_e4m3) return WeightDtype::f8;
    if (slot.matrix->dtype == DType::f32) found = WeightDtype::f32;
  }
  return found;
}

int64_t widest_vector(const EncoderConfig& config, const TowerConfig& tower) {
  int64_t width = tower.n_embd;
  if (config.head == EncoderHead::projection) width = std::max(width, config.head_width);
  for (const DenseConfig& dense : config.dense) width = std::max(width, dense.n_outputs);
  return width;
}

int64_t most_rows(const TowerConfig& tower) { return std::max(kEncoderRows, tower.max_rows); }

}  // namespace

EncoderLayout lay_out_encoder(const EncoderConfig& config, std::span<const EncoderSlot> slots,
                              std::span<const DType> stored, const EncoderOptions& options, void* base,
                              EncoderWeights& weights) {
  describe_matrices(slots, stored, options.weight_dtype);
  Arena arena(base);
  for (size_t i = 0; i < slots.size(); ++i) {
    const EncoderSlot& slot = slots[i];
    if (slot.table != nullptr) {
      slot.table->dtype = loaded_dtype(stored[i], options.weight_dtype);
      slot.table->rows =
          arena.take<void>(static_cast<uint64_t>(slot.n_elements() * dtype_size(slot.table->dtype)));
    } else if (slot.matrix != nullptr && slot.first == 0) {  // taken by the part that holds the first row
      slot.matrix->data = arena.take<void>(packed_bytes(*slot.matrix));
    } else if (slot.vector != nullptr && slot.first == 0) {
      *slot.vector = arena.take<float>(static_cast<uint64_t>(slot.n_whole) * sizeof(float));
    }
  }
  if (config.text && config.text->n_buckets > 0) {
    TowerWeights& text = weights.text;
    text.bias_reach = config.text->bucket_distance;
    const int64_t n = config.text->n_head * (2 * text.bias_reach + 1);
    text.attention_bias = arena.take<float>(static_cast<uint64_t>(n) * sizeof(float));
  }
  return {arena.used(), dtype_of(slots)};
}

uint64_t tower_page_bytes(const TowerConfig& tower) {
  return static_cast<uint64_t>(KvLayout{DType::f32, tower.n_head, tower.head_dim}.layer_bytes());
}

TowerBuffers lay_out_tower(const EncoderConfig& config, const TowerConfig& tower, const TowerSizes& sizes,
                           void* base) {
  Arena arena(base);
  const auto floats = [&](int64_t n_rows, int64_t width) {
    return arena.take<float>(static_cast<uint64_t>(n_rows * width) * sizeof(float));
  };
  const int64_t width = tower.n_embd, inner = tower.attention_width();
  TowerBuffers buffers{};
  buffers.x = floats(sizes.n_rows, width);
  buffers.normed = floats(sizes.n_rows, width);
  buffers.qkv = floats(sizes.n_rows, 3 * inner);
  buffers.attention = floats(sizes.n_rows, inner);
  buffers.hidden = floats(sizes.n_rows, tower.is_gated ? 2 * tower.mlp_hidden : tower.mlp_hidden);
  if (sizes.n_global_rows > 0) {
    buffers.global_kv = floats(sizes.n_rows, 2 * inner);
    buffers.global_x = floats(sizes.n_global_rows, width);
    buffers.global_q = floats(sizes.n_global_rows, inner);
    buffers.global_y = floats(sizes.n_global_rows, inner);
  }
  if (sizes.n_patch_rows > 0) {
    buffers.patches = floats(sizes.n_patch_rows, 3 * tower.patch_size * tower.patch_size);
  }
  buffers.pages = arena.take<std::byte>(static_cast<uint64_t>(sizes.n_pages) * tower_page_bytes(tower));
  buffers.pooled = floats(sizes.n_inputs, width);
  for (float*& vector : buffers.vectors) vector = floats(sizes.n_inputs, widest_vector(config, tower));
  if (config.head == EncoderHead::token_projection) buffers.tokens = floats(sizes.n_rows, config.head_width);
  if (config.head == EncoderHead::sparse) {
    buffers.logits = floats(kSparseRows, tower.vocab_size);
    buffers.largest = floats(kSparseRows + sizes.n_rows / kSparseRows + 1, tower.vocab_size);
  }
  buffers.n_bytes = arena.used();
  return buffers;
}

EncoderPlan plan_encoder(const EncoderConfig& config, std::span<const EncoderSlot> slots,
                         std::span<const DType> stored, const EncoderLayout& layout) {
  EncoderPlan plan{};
  plan.weight_bytes = Memory::allocation_bytes(PoolKind::model, layout.n_bytes);
  for (size_t i = 0; i < slots.size(); ++i) {
    plan.file_bytes += static_cast<uint64_t>(slots[i].n_elements() * dtype_size(stored[i]));
    plan.n_parameters += slots[i].n_elements();
  }
  for (const auto* tower : {&config.text, &config.vision}) {
    if (!*tower) continue;
    const TowerConfig& one = **tower;
    const int64_t n_rows = most_rows(one);
    // As many texts as rows, a page for each that is held at once.
    const auto n_at_once = static_cast<int64_t>(kEncoderPageBytes / tower_page_bytes(one));
    const int64_t n_pages = std::max<int64_t>(std::min(n_at_once, n_rows), page_count(one.max_rows));
    const TowerSizes sizes{n_rows, n_rows, n_pages, one.has_global_tokens ? n_rows : 0,
                           one.patch_size > 0 ? n_rows : 0};
    const uint64_t bytes = lay_out_tower(config, one, sizes, nullptr).n_bytes;
    plan.working_bytes = std::max(plan.working_bytes, Memory::allocation_bytes(PoolKind::working, bytes));
  }
  const TowerConfig& main = config.text ? *config.text : *config.vision;
  const int64_t inner = main.attention_width();
  const int64_t per_layer = 4 * inner * main.n_embd + (main.is_gated ? 3 : 2) * main.mlp_hidden * main.n_embd;
  plan.flops_per_token = static_cast<uint64_t>(2 * main.n_layer * per_layer);
  return plan;
}

}  // namespace nanochat
