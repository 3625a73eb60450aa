// A tensor as a model wants it: its name and shape on disk, and what becomes of it.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/tensor_view.h"

namespace nanochat {

enum class TensorKind : int32_t {
  matrix,   // packed
  table,    // plain rows
  vector,   // fp32
  scalars,  // fp32, held by the host
};

// What a filling does with the bytes besides packing them. none: neither a hash nor a look for what is not
// finite, where that is a pass of its own; for measuring what the checks cost, and nothing else.
enum class WeightChecks : int32_t { all, none };

struct TensorSpec {
  std::string name;
  Shape shape;  // not empty
  TensorKind kind;

  // As rows: a 1-D tensor is one row, and the dimensions after the first are one.
  int64_t n_rows() const { return shape.size() > 1 ? shape[0] : 1; }
  int64_t width() const {
    int64_t width = shape.back();
    for (size_t i = 1; i + 1 < shape.size(); ++i) width *= shape[i];
    return width;
  }
  int64_t n_elements() const { return n_rows() * width(); }
};

}  // namespace nanochat
