// Matrix products by a library that picks an algorithm for each shape: often the fastest there is, but a row
// may get other bits among other rows. For devices that need not be reproducible.
#pragma once

#include <cstdint>
#include <memory>

#include "tensor/dtype.h"

namespace nanochat::cuda {

class CudaDevice;

// y[m, n] (+)= x[m, k] w[n, k]; x and w of `dtype`: f32 (no TF32) or bf16, y of f32. Strides in elements.
struct FastProduct {
  DType dtype;
  int64_t m, n, k;
  const void* w;
  int64_t ldw;
  const void* x;
  int64_t ldx;
  float* y;
  int64_t ldy;
  bool adds;
};

class FastProducts {
 public:
  virtual ~FastProducts() = default;
  // In the device's stream. False: the library does not know how, and nothing was done. Thread-safe.
  virtual bool multiply(const FastProduct& product) = 0;
};

// nullptr where the library is not installed. cuda/blas/fast_products.cc.
std::unique_ptr<FastProducts> make_fast_products(CudaDevice& device);

}  // namespace nanochat::cuda
