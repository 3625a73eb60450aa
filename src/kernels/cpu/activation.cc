#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements

}  // namespace

void relu2(Device& device, float* x, int64_t n) {
  split_work(device, n, kGrain, n * 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] = x[i] < 0.0F ? 0.0F : x[i] * x[i];
  });
}

void swiglu(Device& device, const float* x, float* y, int64_t n_rows, int64_t width) {
  split_work(device, n_rows, rows_per_piece(width * 12), n_rows * width * 12,
             [&](int64_t begin, int64_t end) {
               for (int64_t row = begin; row < end; ++row) {
                 const float* gate = x + row * 2 * width;
                 const float* up = gate + width;
                 for (int64_t i = 0; i < width; ++i)
                   y[row * width + i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
               }
             });
}

void scale_add(Device& device, float a, const float* x, float b, float* y, int64_t n) {
  split_work(device, n, kGrain, n * 12, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = a * x[i] + b * y[i];
  });
}

void softcap(Device& device, float* x, int64_t n, float cap) {
  split_work(device, n, kGrain, n * 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] = cap * std::tanh(x[i] / cap);
  });
}

}  // namespace nanochat::reference
