// Synthetic models. A value depends on seed, tensor and element alone.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/random.h"
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

// Elements 4 * block to 4 * block + 3: two Box-Muller pairs from one Philox block.
std::array<double, 4> normal_block(uint64_t seed, uint64_t tensor, uint64_t block) {
  const auto low = [](uint64_t word) { return static_cast<uint32_t>(word); };
  const auto high = [](uint64_t word) { return static_cast<uint32_t>(word >> 32); };
  const auto words =
      philox4x32({low(block), high(block), low(tensor), high(tensor)}, {low(seed), high(seed)});
  std::array<double, 4> values{};
  for (size_t pair = 0; pair < 2; ++pair) {
    constexpr double kUnit = 1.0 / 4294967296.0;
    const double uniform = (static_cast<double>(words[2 * pair]) + 0.5) * kUnit;  // never 0
    const double radius = std::sqrt(-2.0 * std::log(uniform));
    const double angle = 2.0 * std::numbers::pi * kUnit * static_cast<double>(words[2 * pair + 1]);
    values[2 * pair] = radius * std::cos(angle);
    values[2 * pair + 1] = radius * std::sin(angle);
  }
  return values;
}

class RandomSource final : public WeightSource {
 public:
  RandomSource(const ModelConfig& config, std::span<const TensorSlot> slots, uint64_t seed, WeightDtype dtype)
      : config_(config),
        slots_(slots),
        seed_(seed),
        dtype_(dtype == WeightDtype::bf16 ? DType::bf16 : DType::f32) {}

  DType dtype(size_t slot) const override {
    const TensorKind kind = kind_of(slots_[slot].role);
    return kind == TensorKind::matrix || kind == TensorKind::table ? dtype_ : DType::f32;
  }
  uint64_t position(size_t slot) const override { return slot; }

  std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                  std::vector<std::byte>& buffer) const override {
    const TensorSlot& tensor = slots_[slot];
    const int64_t first = first_row * tensor.width();
    const int64_t n = n_rows * tensor.width();
    const int64_t n_used = std::clamp<int64_t>(used_rows(config_, tensor) * tensor.width() - first, 0, n);
    const auto bytes = staging(buffer, static_cast<size_t>(n * dtype_size(dtype(slot))));
    const Distribution distribution = distribution_of(tensor.role, config_);
    std::array<double, 4> normals{};
    uint64_t block = UINT64_MAX;
    for (int64_t i = 0; i < n; ++i) {
      double value = 0.0;  // of rows that pad the vocabulary
      if (i < n_used) {
        const auto element = static_cast<uint64_t>(first + i);
        if (element / 4 != block) normals = normal_block(seed_, slot, block = element / 4);
        value = distribution.mean + distribution.deviation * normals[element % 4];
      }
      store(bytes.data(), dtype(slot), i, static_cast<float>(value));
    }
    return bytes;
  }

 private:
  static void store(std::byte* target, DType dtype, int64_t index, float value) {
    if (dtype == DType::bf16) {
      reinterpret_cast<uint16_t*>(target)[index] = bf16_from_float(value);
    } else {
      reinterpret_cast<float*>(target)[index] = value;
    }
  }

  const ModelConfig& config_;
  std::span<const TensorSlot> slots_;
  uint64_t seed_;
  DType dtype_;
};

}  // namespace

std::shared_ptr<const Model> Model::create_random(std::shared_ptr<Device> device, const ModelConfig& config,
                                                  uint64_t seed, const ModelOptions& options,
                                                  const Watch& watch) {
  check_model_config(config, "model configuration");
  const std::vector<TensorSlot> slots = tensor_slots(config);
  const RandomSource source(config, slots, seed, options.weight_dtype);
  std::atomic<uint64_t> bytes_read{0};
  const BuildRequest request{"random", &config, slots, &source, options, &bytes_read};
  return ModelBuilder::build(std::move(device), request, watch);
}

}  // namespace nanochat
