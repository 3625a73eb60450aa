#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements

}  // namespace

void relu2(Device& device, float* x, int64_t n) {
  const SimdBodies& bodies = bodies_of(device);
  split_work(device, n, kGrain, n * 8,
             [&](int64_t begin, int64_t end) { bodies.relu2(x + begin, end - begin); });
}

void swiglu(Device& device, const float* x, float* y, int64_t n_rows, int64_t width) {
  const SimdBodies& bodies = bodies_of(device);
  split_work(device, n_rows, rows_per_piece(width * 12), n_rows * width * 12,
             [&](int64_t begin, int64_t end) {
               for (int64_t row = begin; row < end; ++row) {
                 const float* gate = x + row * 2 * width;
                 bodies.swiglu(gate, gate + width, y + row * width, width);
               }
             });
}

void scale_add(Device& device, float a, const float* x, float b, float* y, int64_t n) {
  const SimdBodies& bodies = bodies_of(device);
  split_work(device, n, kGrain, n * 12,
             [&](int64_t begin, int64_t end) { bodies.scale_add(a, x + begin, b, y + begin, end - begin); });
}

void bias_activation(Device& device, float* x, int64_t ldx, int64_t n_rows, int64_t width, const float* bias,
                     RowActivation activation) {
  if (bias == nullptr && activation == RowActivation::none) return;
  const SimdBodies& bodies = bodies_of(device);
  // An activation takes as long as moving some four times its bytes.
  const int64_t row_bytes = width * (activation == RowActivation::none ? 8 : 32);
  split_work(device, n_rows, rows_per_piece(row_bytes), n_rows * row_bytes, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      bodies.bias_activation(x + row * ldx, width, bias, activation);
    }
  });
}

void softcap(Device& device, float* x, int64_t n, float cap) {
  const SimdBodies& bodies = bodies_of(device);
  split_work(device, n, kGrain, n * 8,
             [&](int64_t begin, int64_t end) { bodies.softcap(x + begin, end - begin, cap); });
}

}  // namespace nanochat::simd
