// Synthetic decoders.
#include <cmath>

#include "model/random_source.h"
#include "model/weight_source.h"

namespace nanochat {

namespace {

struct Distribution {
  double mean, deviation;
};

// Away from every neutral value, so that each term of the formulas matters.
Distribution distribution_of(TensorRole role, const ModelConfig& config) {
  switch (role) {
    case TensorRole::embedding:
      return {0.0, 1.0};
    case TensorRole::attention_norm:
    case TensorRole::mlp_norm:
    case TensorRole::final_norm:
      return {1.1, 0.2};
    case TensorRole::value_gate:
    case TensorRole::smear_gate:
      return {0.0, 0.5};
    case TensorRole::resid_lambdas:
      return {0.9, 0.1};
    case TensorRole::x0_lambdas:
      return {0.15, 0.05};
    case TensorRole::smear_lambda:
      return {0.5, 0.1};
    case TensorRole::backout_lambda:
      return {0.3, 0.05};
    default:
      return {0.0, 1.0 / std::sqrt(static_cast<double>(config.n_embd))};
  }
}

}  // namespace

std::shared_ptr<const Model> Model::create_random(std::shared_ptr<Device> device, const ModelConfig& config,
                                                  uint64_t seed, const ModelOptions& options,
                                                  const Watch& watch) {
  check_model_config(config, "model configuration");
  const std::vector<TensorSlot> slots = tensor_slots(config);
  std::vector<RandomTensor> tensors;
  for (const TensorSlot& slot : slots) {
    const auto [mean, deviation] = distribution_of(slot.role, config);
    tensors.push_back({&slot, used_rows(config, slot), mean, deviation});
  }
  const DType dtype = options.weight_dtype == WeightDtype::bf16 ? DType::bf16 : DType::f32;
  const RandomSource source(std::move(tensors), seed, dtype);
  std::atomic<uint64_t> bytes_read{0};
  const BuildRequest request{"random", &config, slots, &source, options, &bytes_read};
  return ModelBuilder::build(std::move(device), request, watch);
}

}  // namespace nanochat
