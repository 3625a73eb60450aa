// FuseMoE: the embeddings of one thing, concatenated, become one vector. A gate chooses top_k of n_experts
// two-layer networks for each row; only those are computed.
//
//   z = layer_norm(x; eps 1e-5)          p = softmax((gate z + b) / temperature)
//   p'_e = (p_e + alpha) / (1 + alpha n_experts)                   (Laplace smoothing, where alpha > 0)
//   chosen: the top_k largest p', the lower index first where two are equal; w_e = p'_e / their sum
//   y = sum over the chosen, largest first, of w_e (fc2_e gelu_tanh(fc1_e x + b1_e) + b2_e)
//
// Experts see x itself, not z. The bits of a row do not depend on the rows beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/hash.h"
#include "base/json.h"
#include "encoder/fuse_moe_routing.h"
#include "model/model.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat {

// What a load will take, known from headers alone. load() takes exactly weight_bytes from the model pool.
struct FuseMoePlan {
  uint64_t file_bytes;
  uint64_t weight_bytes;   // model pool
  uint64_t working_bytes;  // the largest pass's activations
  int64_t n_parameters;
};

struct FuseMoeExpert {
  PackedMatrix fc1, fc2;  // [expert_hidden_dim, input_dim], [output_dim, expert_hidden_dim]
  const float* fc1_bias = nullptr;
  const float* fc2_bias = nullptr;
};

struct FuseMoeWeights {
  const float* norm_weight = nullptr;  // [input_dim]
  const float* norm_bias = nullptr;
  PackedMatrix gate;  // f32 always: rounding must not change who is chosen
  const float* gate_bias = nullptr;
  std::vector<FuseMoeExpert> experts;
};

struct FuseMoeInput {
  std::span<const float> values;  // host memory, [n_rows, width]
  int64_t n_rows = 0, width = 0;
};

struct FuseMoeOutput {
  std::vector<float> values;            // [n_rows, output_dim]
  std::vector<RoutingWeights> routing;  // of each row
};

class FuseMoe {
 public:
  static constexpr float kNormEpsilon = 1e-5F;
  static constexpr int64_t kPassRows = 256;  // a larger batch runs in passes of this many rows

  static FuseMoePlan plan(const FuseMoeConfig& config, const ModelOptions& options);
  static FuseMoePlan plan(const std::string& path, const ModelOptions& options);

  static FuseMoeConfig read_config(const std::string& path, const ModelOptions& options);

  // All or nothing, with the statuses of Model::load. The directory is what save() writes.
  static std::shared_ptr<const FuseMoe> load(std::shared_ptr<Device> device, const std::string& path,
                                             const ModelOptions& options, const Watch& watch);

  // Matrices even over +-sqrt(6 / (inputs + outputs)) (Xavier), biases 0, norm 1 and 0. Element e of tensor
  // i, in the order of docs/formats.md, comes from (seed, i, e) alone.
  static std::shared_ptr<const FuseMoe> create_random(std::shared_ptr<Device> device,
                                                      const FuseMoeConfig& config, uint64_t seed,
                                                      const ModelOptions& options, const Watch& watch);

  // config.json and model.safetensors, values as they are held. The folder is created.
  void save(const std::string& path, const Watch& watch) const;

  // Inference: noise_std, load_balance_coef and capacity_factor, which are for training, have no part in it.
  // invalid_argument: no rows, another width than input_dim, a value that is not finite (names row and
  // index). out_of_range: the gate's numbers overflow. Cancelled between experts. Thread-safe.
  FuseMoeOutput forward(const FuseMoeInput& input, const Watch& watch) const;

  const FuseMoeConfig& config() const { return config_; }
  const FuseMoeWeights& weights() const { return weights_; }
  const FuseMoePlan& plan() const { return plan_; }
  WeightDtype weight_dtype() const { return weight_dtype_; }  // of the experts' matrices
  const Hash128& checksum() const { return checksum_; }
  double load_seconds() const { return load_seconds_; }
  // All weights as they lie on the device.
  std::span<const std::byte> resident() const { return {block_.as<const std::byte>(), block_.bytes()}; }
  Device& device() const { return *device_; }

 private:
  friend class FuseMoeBuilder;  // fuse_moe_weights.cc
  FuseMoe() = default;
  FuseMoeConfig config_;
  FuseMoePlan plan_{};
  std::shared_ptr<Device> device_;
  Block block_;  // owns everything weights_ points to
  FuseMoeWeights weights_;
  WeightDtype weight_dtype_ = WeightDtype::f32;
  Hash128 checksum_;
  double load_seconds_ = 0.0;
};

}  // namespace nanochat
