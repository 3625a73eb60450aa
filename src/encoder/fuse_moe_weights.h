// The tensors of a FuseMoE layer: their names, where they lie in its one block, and how they get there.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "encoder/fuse_moe.h"
#include "model/weight_fill.h"

namespace nanochat {

enum class FuseMoePart : int32_t {
  norm_weight,
  norm_bias,
  gate_weight,
  gate_bias,
  fc1_weight,
  fc1_bias,
  fc2_weight,
  fc2_bias
};

struct FuseMoeSlot : TensorSpec {
  FuseMoePart part;
  int64_t expert;  // -1: the gate's
};

// In the order of docs/formats.md; the index is the stream of create_random().
std::vector<FuseMoeSlot> fuse_moe_slots(const FuseMoeConfig& config);

PackedMatrix& matrix_of(FuseMoeWeights& weights, const FuseMoeSlot& slot);
const float*& vector_of(FuseMoeWeights& weights, const FuseMoeSlot& slot);

struct FuseMoeLayout {
  FuseMoeWeights weights;  // pointers are base + offset
  uint64_t n_bytes;
};

// stored[i]: the dtype of slot i on disk. base nullptr gives the sizes alone.
FuseMoeLayout lay_out_fuse_moe(const FuseMoeConfig& config, std::span<const FuseMoeSlot> slots,
                               std::span<const DType> stored, WeightDtype wanted, void* base);

FuseMoePlan plan_fuse_moe(const FuseMoeConfig& config, std::span<const FuseMoeSlot> slots,
                          std::span<const DType> stored, WeightDtype wanted);

// The activations of one pass over up to n_rows rows.
struct FuseMoeBuffers {
  float* x;        // [n_rows, input_dim]; nullptr where the device reads host memory
  float* rows;     // [n_rows, input_dim] normed, later the rows of one expert
  float* logits;   // [n_rows, n_experts]
  float* hidden;   // [n_rows, expert_hidden_dim]
  float* outputs;  // [n_rows * top_k, output_dim] experts in order
  float* mixed;    // [n_rows, output_dim]
  uint64_t n_bytes;
};
FuseMoeBuffers lay_out_fuse_moe_pass(const FuseMoeConfig& config, int64_t n_rows, void* base);

struct FuseMoeBuild {
  std::string model_id;  // for messages
  const FuseMoeConfig* config;
  std::span<const FuseMoeSlot> slots;
  const WeightSource* source;  // slot i is read as source->read(i, ...)
  WeightDtype weight_dtype;
  std::atomic<uint64_t>* bytes_read;  // grows while the build goes on
  WeightChecks checks = WeightChecks::all;
};

class FuseMoeBuilder {
 public:
  // Takes the whole block, then fills it in one pass over the source. Nothing stays allocated on failure.
  static std::shared_ptr<const FuseMoe> build(std::shared_ptr<Device> device, const FuseMoeBuild& request,
                                              const Watch& watch);
};

}  // namespace nanochat
