#include <cmath>
#include <numbers>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements

double activated(double x, RowActivation activation) {
  switch (activation) {
    case RowActivation::none:
      return x;
    case RowActivation::relu:
      return x < 0.0 ? 0.0 : x;
    case RowActivation::gelu:
      return x * 0.5 * std::erfc(-x * std::numbers::sqrt2 / 2);
    case RowActivation::gelu_tanh:
      return x / (1.0 + std::exp(-2.0 * std::sqrt(2.0 * std::numbers::inv_pi) * (x + 0.044715 * x * x * x)));
    case RowActivation::quick_gelu:
      return x / (1.0 + std::exp(-1.702 * x));
    case RowActivation::silu:
      return x / (1.0 + std::exp(-x));
    case RowActivation::tanh:
      return std::tanh(x);
  }
  return x;
}

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

void multiply(Device& device, float* x, int64_t ldx, const float* factor, int64_t ldf, int64_t n_rows,
              int64_t width) {
  split_work(device, n_rows, rows_per_piece(width * 12), n_rows * width * 12,
             [&](int64_t begin, int64_t end) {
               for (int64_t row = begin; row < end; ++row) {
                 for (int64_t i = 0; i < width; ++i) x[row * ldx + i] *= factor[row * ldf + i];
               }
             });
}

void bias_activation(Device& device, float* x, int64_t ldx, int64_t n_rows, int64_t width, const float* bias,
                     RowActivation activation) {
  split_work(device, n_rows, rows_per_piece(width * 8), n_rows * width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t i = 0; i < width; ++i) {
        float& value = x[row * ldx + i];
        value = static_cast<float>(activated(bias == nullptr ? value : value + bias[i], activation));
      }
    }
  });
}

void softcap(Device& device, float* x, int64_t n, float cap) {
  split_work(device, n, kGrain, n * 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] = cap * std::tanh(x[i] / cap);
  });
}

}  // namespace nanochat::reference
