// A loaded encoder: configuration and weights on a device. Immutable: share it between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/hash.h"
#include "encoder/encoder_config.h"
#include "encoder/encoder_weights.h"
#include "model/model.h"
#include "tensor/device.h"

namespace nanochat {

struct EncoderOptions {
  WeightDtype weight_dtype = WeightDtype::as_stored;  // as a Model's; tables of int8 and fp8 models are bf16
  PoolerWeights pooler = PoolerWeights::absent;       // BERT's, for TextPooling::pooler
  std::string model_id = {};                          // for messages; "": the directory's name
  WeightChecks checks = WeightChecks::all;
};

// What a load will take, known from headers alone. load() takes exactly weight_bytes from the model pool.
struct EncoderPlan {
  uint64_t file_bytes;
  uint64_t weight_bytes;   // model pool
  uint64_t working_bytes;  // of a pass over the most rows that are run at once
  int64_t n_parameters;
  uint64_t flops_per_token;  // 2 * parameters of the matrices of a text's layers, or an image's
};

class Encoder {
 public:
  // Headers only; throws what load() would throw before it reads weights.
  static EncoderPlan plan(const std::string& path, const EncoderOptions& options);

  // What the files say of it, checked, without weights; statuses as of plan().
  static EncoderConfig read_config(const std::string& path, const EncoderOptions& options);

  // A directory of Hugging Face or sentence-transformers. All or nothing, with the statuses of Model::load().
  static std::shared_ptr<const Encoder> load(std::shared_ptr<Device> device, const std::string& path,
                                             const EncoderOptions& options, const Watch& watch);

  // Random weights, from (seed, tensor, element) alone. For benchmarks and tests.
  static std::shared_ptr<const Encoder> create_random(std::shared_ptr<Device> device,
                                                      const EncoderConfig& config, uint64_t seed,
                                                      const EncoderOptions& options, const Watch& watch);

  const EncoderConfig& config() const { return config_; }
  const EncoderWeights& weights() const { return weights_; }
  const EncoderPlan& plan() const { return plan_; }
  Device& device() const { return *device_; }
  const std::shared_ptr<Device>& shared_device() const { return device_; }
  WeightDtype weight_dtype() const { return weight_dtype_; }
  bool has_pooler() const { return weights_.pooler.matrix.data != nullptr; }
  const Hash128& checksum() const { return checksum_; }  // as Model::checksum()
  double load_seconds() const { return load_seconds_; }
  // All weights as they lie on the device.
  std::span<const std::byte> resident() const { return {block_.as<const std::byte>(), block_.bytes()}; }

 private:
  friend class EncoderBuilder;  // encoder_load.cc
  Encoder() = default;
  EncoderConfig config_;
  EncoderPlan plan_{};
  std::shared_ptr<Device> device_;
  Block block_;  // owns everything weights_ points to
  EncoderWeights weights_;
  WeightDtype weight_dtype_ = WeightDtype::f32;
  Hash128 checksum_;
  double load_seconds_ = 0.0;
};

}  // namespace nanochat
