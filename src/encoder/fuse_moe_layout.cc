#include "base/error.h"
#include "encoder/fuse_moe_weights.h"
#include "model/arena.h"
#include "model/weight_layout.h"

namespace nanochat {

namespace {

DType held_dtype(const FuseMoeSlot& slot, DType stored, WeightDtype wanted) {
  return slot.part == FuseMoePart::gate_weight ? DType::f32 : loaded_matrix_dtype(stored, wanted);
}

}  // namespace

std::vector<FuseMoeSlot> fuse_moe_slots(const FuseMoeConfig& config) {
  using enum FuseMoePart;
  const int64_t in = config.input_dim, hidden = config.expert_hidden_dim, out = config.output_dim;
  std::vector<FuseMoeSlot> slots;
  const auto add = [&](std::string name, Shape shape, FuseMoePart part, int64_t expert) {
    const TensorKind kind = shape.size() == 2 ? TensorKind::matrix : TensorKind::vector;
    slots.push_back({{std::move(name), std::move(shape), kind}, part, expert});
  };
  add("gate.norm.weight", {in}, norm_weight, -1);
  add("gate.norm.bias", {in}, norm_bias, -1);
  add("gate.weight", {config.n_experts, in}, gate_weight, -1);
  add("gate.bias", {config.n_experts}, gate_bias, -1);
  for (int64_t expert = 0; expert < config.n_experts; ++expert) {
    const std::string prefix = format_text("experts.{}.", expert);
    add(prefix + "fc1.weight", {hidden, in}, fc1_weight, expert);
    add(prefix + "fc1.bias", {hidden}, fc1_bias, expert);
    add(prefix + "fc2.weight", {out, hidden}, fc2_weight, expert);
    add(prefix + "fc2.bias", {out}, fc2_bias, expert);
  }
  return slots;
}

PackedMatrix& matrix_of(FuseMoeWeights& weights, const FuseMoeSlot& slot) {
  if (slot.part == FuseMoePart::gate_weight) return weights.gate;
  FuseMoeExpert& expert = weights.experts[static_cast<size_t>(slot.expert)];
  return slot.part == FuseMoePart::fc1_weight ? expert.fc1 : expert.fc2;
}

const float*& vector_of(FuseMoeWeights& weights, const FuseMoeSlot& slot) {
  switch (slot.part) {
    case FuseMoePart::norm_weight:
      return weights.norm_weight;
    case FuseMoePart::norm_bias:
      return weights.norm_bias;
    case FuseMoePart::gate_bias:
      return weights.gate_bias;
    default:
      break;
  }
  FuseMoeExpert& expert = weights.experts[static_cast<size_t>(slot.expert)];
  return slot.part == FuseMoePart::fc1_bias ? expert.fc1_bias : expert.fc2_bias;
}

FuseMoeLayout lay_out_fuse_moe(const FuseMoeConfig& config, std::span<const FuseMoeSlot> slots,
                               std::span<const DType> stored, WeightDtype wanted, void* base) {
  FuseMoeLayout layout{};
  layout.weights.experts.resize(static_cast<size_t>(config.n_experts));
  Arena arena(base);
  for (size_t i = 0; i < slots.size(); ++i) {
    const FuseMoeSlot& slot = slots[i];
    if (slot.kind != TensorKind::matrix) {
      vector_of(layout.weights, slot) =
          arena.take<float>(static_cast<uint64_t>(slot.width()) * sizeof(float));
      continue;
    }
    PackedMatrix& matrix = matrix_of(layout.weights, slot);
    matrix.dtype = held_dtype(slot, stored[i], wanted);
    matrix.n = slot.n_rows();
    matrix.k = slot.width();
    matrix.data =
        arena.take<void>(static_cast<uint64_t>(PackedMatrix::packed_bytes(matrix.dtype, matrix.n, matrix.k)));
  }
  layout.n_bytes = arena.used();
  return layout;
}

FuseMoePlan plan_fuse_moe(const FuseMoeConfig& config, std::span<const FuseMoeSlot> slots,
                          std::span<const DType> stored, WeightDtype wanted) {
  FuseMoePlan plan{};
  for (size_t i = 0; i < slots.size(); ++i) {
    plan.n_parameters += slots[i].n_elements();
    plan.file_bytes += static_cast<uint64_t>(slots[i].n_elements() * dtype_size(stored[i]));
  }
  plan.weight_bytes = Memory::allocation_bytes(
      PoolKind::model, lay_out_fuse_moe(config, slots, stored, wanted, nullptr).n_bytes);
  plan.working_bytes = Memory::allocation_bytes(
      PoolKind::working, lay_out_fuse_moe_pass(config, FuseMoe::kPassRows, nullptr).n_bytes);
  return plan;
}

FuseMoeBuffers lay_out_fuse_moe_pass(const FuseMoeConfig& config, int64_t n_rows, void* base) {
  Arena arena(base);
  const auto take = [&](int64_t width) {
    return arena.take<float>(static_cast<uint64_t>(n_rows * width) * sizeof(float));
  };
  FuseMoeBuffers buffers{};
  buffers.x = take(config.input_dim);
  buffers.rows = take(config.input_dim);
  buffers.logits = take(config.n_experts);
  buffers.hidden = take(config.expert_hidden_dim);
  buffers.outputs = take(config.top_k * config.output_dim);
  buffers.mixed = take(config.output_dim);
  buffers.n_bytes = arena.used();
  return buffers;
}

}  // namespace nanochat
