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

// Numbers even over (mean - reach, mean + reach).
struct RandomStream {
  uint64_t seed, tensor;
  float mean, reach;
};
constexpr size_t kValues = 1024;  // drawn at once
constexpr size_t kBlocks = kValues / 4 + 1;

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

// Elements first to first + n - 1 of a tensor. Element e comes from word e % 4 of block e / 4: 24 bits, even
// over (-1, 1) without its ends and zero.
void draw(const RandomStream& stream, uint64_t first, std::span<float> values) {
  std::array<std::array<uint32_t, 4>, kBlocks> blocks;
  const uint64_t first_block = first / 4;
  const uint64_t end_block = (first + values.size() + 3) / 4;
  const auto n_blocks = static_cast<size_t>(end_block - first_block);
  philox4x32_blocks(stream.seed, stream.tensor, first_block, std::span(blocks).first(n_blocks));
  const uint32_t* words = blocks[0].data() + first % 4;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto whole = static_cast<float>(static_cast<int32_t>(words[i]) >> 8);
    values[i] = stream.mean + stream.reach * ((whole + 0.5F) * 0x1p-23F);
  }
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
    const auto [mean, deviation] = distribution_of(tensor.role, config_);
    const RandomStream stream{seed_, slot, static_cast<float>(mean),
                              static_cast<float>(std::numbers::sqrt3 * deviation)};
    std::array<float, kValues> values;
    for (int64_t done = 0; done < n;) {
      const int64_t n_now = std::min<int64_t>(kValues, n - done);
      const int64_t n_drawn = std::clamp<int64_t>(n_used - done, 0, n_now);
      draw(stream, static_cast<uint64_t>(first + done),
           std::span(values).first(static_cast<size_t>(n_drawn)));
      std::fill(values.begin() + n_drawn, values.begin() + n_now, 0.0F);  // rows that pad the vocabulary
      store(bytes.data(), dtype(slot), done, std::span(values).first(static_cast<size_t>(n_now)));
      done += n_now;
    }
    return bytes;
  }

 private:
  static void store(std::byte* target, DType dtype, int64_t index, std::span<const float> values) {
    if (dtype == DType::bf16) {
      auto* out = reinterpret_cast<uint16_t*>(target) + index;
      for (size_t i = 0; i < values.size(); ++i) out[i] = bf16_from_float(values[i]);
    } else {
      std::copy(values.begin(), values.end(), reinterpret_cast<float*>(target) + index);
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
