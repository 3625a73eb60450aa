// A tensor somebody else owns: name-free, row-major, contiguous.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace nanochat {

using Shape = std::vector<int64_t>;

struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  const void* data = nullptr;

  int64_t n_elements() const {
    int64_t n = 1;
    for (const int64_t dimension : shape) n *= dimension;
    return n;
  }
  int64_t n_bytes() const { return n_elements() * dtype_size(dtype); }
};

}  // namespace nanochat
