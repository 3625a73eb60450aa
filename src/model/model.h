// A loaded model: configuration, weights on a device, rope tables. Immutable: share it between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/hash.h"
#include "model/config.h"
#include "model/tensor_spec.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat {

enum class WeightDtype : int32_t { as_stored = 0, f32 = 1, bf16 = 2, i8 = 3, f8 = 4 };  // f8: encoders

struct ModelOptions {
  // as_stored: f32 stays f32; bf16 and f16 become bf16. i8: matrices become int8, tables bf16.
  WeightDtype weight_dtype = WeightDtype::as_stored;
  std::string model_id = {};  // for messages; "": the directory's name
  WeightChecks checks = WeightChecks::all;
};

// What a load will take, known from headers alone. load() takes exactly weight_bytes from the model pool.
struct ModelPlan {
  uint64_t file_bytes;
  uint64_t weight_bytes;        // model pool
  uint64_t kv_bytes_per_token;  // session, per position of its capacity, in pages of 64
  uint64_t working_bytes;       // the largest forward pass's activations
  int64_t n_parameters;
  uint64_t bytes_per_decoded_token;  // weights read for one token at batch 1: the bandwidth floor
  uint64_t flops_per_decoded_token;  // 2 * matrix parameters
};

struct LayerWeights {
  const float* attention_norm = nullptr;  // [n_embd] or nullptr
  const float* mlp_norm = nullptr;
  PackedMatrix qkv;  // rows: q, then k, then v
  PackedMatrix o;
  PackedMatrix mlp_in;  // relu2: [mlp_hidden, n_embd]; swiglu: gate rows, then up rows
  PackedMatrix mlp_out;
  const void* value_embedding = nullptr;  // [padded_vocab_size, n_kv_width], dtype table_dtype
  const float* value_gate = nullptr;      // [n_kv_head, ve_gate_channels]
  float resid_lambda = 1.0F, x0_lambda = 0.0F;
};

struct Weights {
  DType table_dtype = DType::f32;   // of embedding tables
  const void* embedding = nullptr;  // [padded_vocab_size, n_embd]; nullptr when tied: rows of lm_head
  PackedMatrix lm_head;             // n = vocab_size
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
  const float* smear_gate = nullptr;  // [smear_channels]
  float smear_lambda = 0.0F, backout_lambda = 0.0F;
  const float* rope_cos = nullptr;  // [n_rope_positions, head_dim / 2]; sin carries the rotation sign
  const float* rope_sin = nullptr;
  int64_t n_rope_positions = 0;
};

class Model {
 public:
  // Headers only; throws what load() would throw before it reads weights.
  static ModelPlan plan(const std::string& path, const ModelOptions& options);

  // config.json alone, checked; statuses as of plan().
  static ModelConfig read_config(const std::string& path, const ModelOptions& options);

  // All or nothing. Every tensor's name, dtype and shape is checked before a weight is read; every weight is
  // scanned for NaN and infinity while it is packed. Statuses: model_file_missing, model_load_failed (cause:
  // the file's own error), model_validation_failed, model_dimension_mismatch, budget_exceeded, out_of_memory,
  // cancelled.
  static std::shared_ptr<const Model> load(std::shared_ptr<Device> device, const std::string& path,
                                           const ModelOptions& options, const Watch& watch);

  // Random weights: each tensor uniform, every matrix with mean 0 and deviation 1/sqrt(n_embd), every scalar
  // and gate away from its neutral value, from (seed, tensor index, element) alone. For benchmarks and tests.
  static std::shared_ptr<const Model> create_random(std::shared_ptr<Device> device, const ModelConfig& config,
                                                    uint64_t seed, const ModelOptions& options,
                                                    const Watch& watch);

  // The same model with int8 matrices: what a load of the same values with WeightDtype::i8 gives, to the bit.
  // Both are in memory for a while. A model that is int8 already is invalid_argument. Progress: "quantize".
  std::shared_ptr<const Model> quantize(const Watch& watch) const;

  // Writes config.json and weights in the model's own format; the folder is created. Values are the loaded
  // ones (bf16 stays bf16, int8 stays int8 with its scales). Each file is replaced atomically.
  void save(const std::string& path, const Watch& watch) const;

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const ModelPlan& plan() const { return plan_; }
  Device& device() const { return *device_; }
  const std::shared_ptr<Device>& shared_device() const { return device_; }
  WeightDtype weight_dtype() const { return weight_dtype_; }
  const Hash128& checksum() const {
    return checksum_;
  }  // of the tensors' names, dtypes, shapes and stored
     // bytes: a tree of XXH3-128 (model/weights.cc)
  double load_seconds() const { return load_seconds_; }
  // All weights as they lie on the device.
  std::span<const std::byte> resident() const {
    return {blocks_.front().as<const std::byte>(), blocks_.front().bytes()};
  }

 private:
  friend class ModelBuilder;  // model/weights.cc
  Model() = default;
  ModelConfig config_;
  ModelPlan plan_{};
  std::shared_ptr<Device> device_;
  std::vector<Block> blocks_;  // own everything weights_ points to
  Weights weights_;
  WeightDtype weight_dtype_ = WeightDtype::f32;
  Hash128 checksum_;
  double load_seconds_ = 0.0;
};

}  // namespace nanochat
