// FuseMoE layers of random weights. A value depends on seed, tensor and element alone.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/random.h"
#include "encoder/fuse_moe_weights.h"

namespace nanochat {

namespace {

constexpr size_t kValues = 1024;  // drawn at once
constexpr size_t kBlocks = kValues / 4 + 1;

// Which numbers: Philox(seed, slot), even over (-reach, reach).
struct Stream {
  uint64_t seed, slot;
  float reach;
};

// Element e comes from word e % 4 of block e / 4: 24 bits, without the ends and zero.
void draw(const Stream& stream, uint64_t first, std::span<float> values) {
  std::array<std::array<uint32_t, 4>, kBlocks> blocks;
  const auto n_blocks = static_cast<size_t>((first + values.size() + 3) / 4 - first / 4);
  philox4x32_blocks(stream.seed, stream.slot, first / 4, std::span(blocks).first(n_blocks));
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t word = first % 4 + i;
    const auto whole = static_cast<float>(static_cast<int32_t>(blocks[word / 4][word % 4]) >> 8);
    values[i] = stream.reach * ((whole + 0.5F) * 0x1p-23F);
  }
}

class RandomSource final : public WeightSource {
 public:
  RandomSource(std::span<const FuseMoeSlot> slots, uint64_t seed) : slots_(slots), seed_(seed) {}

  DType dtype(size_t) const override { return DType::f32; }
  uint64_t position(size_t slot) const override { return slot; }

  std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                  std::vector<std::byte>& buffer) const override {
    const FuseMoeSlot& tensor = slots_[slot];
    const auto n = static_cast<size_t>(n_rows * tensor.width());
    const auto bytes = staging(buffer, n * sizeof(float));
    const std::span<float> values(reinterpret_cast<float*>(bytes.data()), n);
    if (!tensor.is_matrix()) {
      std::fill(values.begin(), values.end(), tensor.part == FuseMoePart::norm_weight ? 1.0F : 0.0F);
      return bytes;
    }
    const double fans = static_cast<double>(tensor.shape[0] + tensor.shape[1]);
    const Stream stream{seed_, slot, static_cast<float>(std::sqrt(6.0 / fans))};
    const auto first = static_cast<uint64_t>(first_row * tensor.width());
    for (size_t done = 0; done < n; done += kValues) {
      draw(stream, first + done, values.subspan(done, std::min(kValues, n - done)));
    }
    return bytes;
  }

 private:
  std::span<const FuseMoeSlot> slots_;
  uint64_t seed_;
};

}  // namespace

FuseMoePlan FuseMoe::plan(const FuseMoeConfig& config, const ModelOptions& options) {
  config.validate();
  const std::vector<FuseMoeSlot> slots = fuse_moe_slots(config);
  return plan_fuse_moe(config, slots, std::vector<DType>(slots.size(), DType::f32), options.weight_dtype);
}

std::shared_ptr<const FuseMoe> FuseMoe::create_random(std::shared_ptr<Device> device,
                                                      const FuseMoeConfig& config, uint64_t seed,
                                                      const ModelOptions& options, const Watch& watch) {
  config.validate();
  const std::vector<FuseMoeSlot> slots = fuse_moe_slots(config);
  const RandomSource source(slots, seed);
  std::atomic<uint64_t> bytes_read{0};
  const FuseMoeBuild request{"random", &config, slots, &source, options.weight_dtype, &bytes_read};
  return FuseMoeBuilder::build(std::move(device), request, watch);
}

}  // namespace nanochat
