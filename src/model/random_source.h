// Random weights. A value depends on seed, number of the tensor and element alone.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/weight_fill.h"

namespace nanochat {

// Values even around the mean. Rows from used_rows on are zeros: they pad a vocabulary.
struct RandomTensor {
  const TensorSpec* tensor;
  int64_t used_rows;
  double mean, deviation;
};

class RandomSource final : public WeightSource {
 public:
  // Matrices and tables are of `dtype` (f32 or bf16), all else fp32.
  RandomSource(std::vector<RandomTensor> tensors, uint64_t seed, DType dtype)
      : tensors_(std::move(tensors)), seed_(seed), dtype_(dtype) {}

  DType dtype(size_t slot) const override;
  uint64_t position(size_t slot) const override { return slot; }
  std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                  std::vector<std::byte>& buffer) const override;

 private:
  std::vector<RandomTensor> tensors_;
  uint64_t seed_;
  DType dtype_;
};

}  // namespace nanochat
