// From pooled rows to the vectors of a model.
#pragma once

#include "encoder/encoder_forward.h"
#include "encoder/encoder_pass.h"

namespace nanochat {

bool wants_unit(const Encoder& encoder, Normalization normalization);

// Makes rows of length 1, in place; a row of zeros stays one.
void normalize_rows(Device& device, float* rows, int64_t n_rows, int64_t width);

// What follows pooling: projection, dense layers, normalisation.
class VectorHead {
 public:
  // Of n_vectors rows of buffers.pooled.
  VectorHead(const Encoder& encoder, const TowerBuffers& buffers, int64_t n_vectors, int64_t width)
      : device_(encoder.device()),
        buffers_(buffers),
        n_(n_vectors),
        width_(width),
        vectors_(buffers.pooled) {}

  void apply(const EncoderLinear& linear, RowActivation activation);
  // Returns the end of what it has written.
  float* write(bool is_unit, float* output);

 private:
  Device& device_;
  const TowerBuffers& buffers_;
  int64_t n_, width_;
  float* vectors_;
};

}  // namespace nanochat
