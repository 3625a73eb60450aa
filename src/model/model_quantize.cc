// Model::quantize: a loaded model as the source of another one.
#include <cstring>

#include "base/error.h"
#include "model/slot_rows.h"
#include "model/weight_source.h"

namespace nanochat {

namespace {

// What a model holds, in the form of a file that holds the same.
class HeldSource final : public WeightSource {
 public:
  HeldSource(const Model& model, std::span<const TensorSlot> slots) : model_(model), slots_(slots) {}

  DType dtype(size_t slot) const override { return held_dtype(model_.weights(), slots_[slot]); }
  uint64_t position(size_t slot) const override { return slot; }

  std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                  std::vector<std::byte>& buffer) const override {
    const TensorSlot& tensor = slots_[slot];
    const auto n = static_cast<size_t>(n_rows * tensor.width());
    const auto bytes = staging(buffer, n * sizeof(float));
    auto* const values = reinterpret_cast<float*>(bytes.data());
    std::vector<int32_t> rows(static_cast<size_t>(n_rows));
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<int32_t>(first_row) + static_cast<int32_t>(i);
    read_rows(model_, tensor, rows, {values, n});
    if (dtype(slot) == DType::f32) return bytes;
    // In place: word i lies before the values that are still to be read.
    auto* const words = reinterpret_cast<std::byte*>(values);
    for (size_t i = 0; i < n; ++i) {
      const uint16_t word = bf16_from_float(values[i]);
      std::memcpy(words + i * sizeof word, &word, sizeof word);
    }
    return bytes.first(n * sizeof(uint16_t));
  }

 private:
  const Model& model_;
  std::span<const TensorSlot> slots_;
};

}  // namespace

std::shared_ptr<const Model> Model::quantize(const Watch& watch) const {
  if (weight_dtype_ == WeightDtype::i8) {
    throw Error(Status::invalid_argument).subject("model").say("the model's weights are int8 already");
  }
  const std::vector<TensorSlot> slots = tensor_slots(config_);
  const HeldSource source(*this, slots);
  std::atomic<uint64_t> bytes_read{0};
  const BuildRequest request{"quantised",       &config_,    slots,     &source,
                             {WeightDtype::i8}, &bytes_read, "quantize"};
  return ModelBuilder::build(device_, request, watch);
}

}  // namespace nanochat
