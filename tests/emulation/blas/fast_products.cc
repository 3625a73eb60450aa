// The emulator has no library of matrix products: its twin is the obvious loop, which shows that what it was
// asked for is right.
#include "device/fast_products.h"

#include <cuda_runtime.h>
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/element.h"

namespace nanochat::cuda {

namespace {

// A block: a row of y.
__global__ void plain_product(const void* w, int64_t ldw, const void* x, int64_t ldx, DType dtype, int64_t n,
                              int64_t k, float* y, int64_t ldy, int adds) {
  wait_for_earlier_kernels();
  const int64_t row = blockIdx.x;
  for (int64_t column = threadIdx.x; column < n; column += blockDim.x) {
    float sum = 0.0F;
    for (int64_t i = 0; i < k; ++i)
      sum += element_of(x, dtype, row * ldx + i) * element_of(w, dtype, column * ldw + i);
    float& place = y[row * ldy + column];
    place = adds != 0 ? place + sum : sum;
  }
}

class PlainProducts final : public FastProducts {
 public:
  explicit PlainProducts(CudaDevice& device) : device_(device) {}
  bool multiply(const FastProduct& p) override {
    launch(device_, {dim3(static_cast<unsigned>(p.m)), dim3(32)}, plain_product, p.w, p.ldw, p.x, p.ldx,
           p.dtype, p.n, p.k, p.y, p.ldy, p.adds ? 1 : 0);
    return true;
  }

 private:
  CudaDevice& device_;
};

}  // namespace

std::unique_ptr<FastProducts> make_fast_products(CudaDevice& device) {
  return std::make_unique<PlainProducts>(device);
}

}  // namespace nanochat::cuda
