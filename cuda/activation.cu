// What is done to single values. All are bound by memory: 8 bytes of traffic a value (swiglu: 12, scale_add:
// 12).
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/grid.h"
#include "hardware/numbers.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

__global__ void relu2_kernel(float* x, int64_t n) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n; i += index_step()) x[i] = x[i] < 0.0F ? 0.0F : x[i] * x[i];
}

__global__ void swiglu_kernel(const float* x, float* y, int64_t n_rows, int64_t width) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n_rows * width; i += index_step()) {
    const int64_t row = i / width;
    const float gate = x[i + row * width], up = x[i + row * width + width];
    y[i] = gate / (1.0F + expf(-gate)) * up;
  }
}

__global__ void scale_add_kernel(float a, const float* x, float b, float* y, int64_t n) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n; i += index_step()) y[i] = a * x[i] + b * y[i];
}

__global__ void multiply_kernel(float* x, int64_t ldx, const float* factor, int64_t ldf, int64_t n_rows,
                                int64_t width) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n_rows * width; i += index_step()) {
    const int64_t row = i / width, column = i % width;
    x[row * ldx + column] *= factor[row * ldf + column];
  }
}

// erfc(x / sqrt(2)). Far out it loses twice the square of its argument in roundings, so the argument has two
// parts.
__device__ float erfc_of_root_half(float x) {
  constexpr float kHigh = 0.70710678F, kLow = 1.21016175e-8F;
  const float high = x * kHigh;
  const float low = fmaf(x, kHigh, -high) + x * kLow;
  const float slope = -1.12837917F * expf(-high * high);  // of erfc at `high`
  return low * slope != 0.0F && fabsf(x) < 20.0F ? fmaf(low, slope, erfcf(high)) : erfcf(high);
}

// fp32 as the CPU's fast bodies; see tensor/activation.h.
__device__ float activated(float x, RowActivation activation) {
  switch (activation) {
    case RowActivation::none:
      return x;
    case RowActivation::relu:
      return x < 0.0F ? 0.0F : x;
    case RowActivation::gelu:
      return x * (0.5F * erfc_of_root_half(-x));
    case RowActivation::gelu_tanh:
      // 2 sqrt(2 / pi) (x + 0.044715 x^3), in as few roundings as there can be
      return x / (1.0F + expf(-x * fmaf(0.07135481627159F, x * x, 1.5957691216057F)));
    case RowActivation::quick_gelu:
      return x / (1.0F + expf(-1.702F * x));
    case RowActivation::silu:
      return x / (1.0F + expf(-x));
    case RowActivation::tanh:
      return tanhf(x);
  }
  return x;
}

__global__ void bias_activation_kernel(float* x, int64_t ldx, int64_t n_rows, int64_t width,
                                       const float* bias, RowActivation activation) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n_rows * width; i += index_step()) {
    const int64_t row = i / width, column = i % width;
    float& value = x[row * ldx + column];
    value = activated(bias == nullptr ? value : value + bias[column], activation);
  }
}

__global__ void softcap_kernel(float* x, int64_t n, float cap) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n; i += index_step()) x[i] = cap * tanhf(x[i] / cap);
}

const KernelList kKernels{kernel_handle(relu2_kernel),     kernel_handle(swiglu_kernel),
                          kernel_handle(scale_add_kernel), kernel_handle(multiply_kernel),
                          kernel_handle(softcap_kernel),   kernel_handle(bias_activation_kernel)};

}  // namespace

void relu2(Device& device, float* x, int64_t n) {
  if (n <= 0) return;
  launch(cuda_device(device), {grid_for(n), kBlockThreads}, relu2_kernel, x, n);
}

void swiglu(Device& device, const float* x, float* y, int64_t n_rows, int64_t width) {
  if (n_rows * width <= 0) return;
  launch(cuda_device(device), {grid_for(n_rows * width), kBlockThreads}, swiglu_kernel, x, y, n_rows, width);
}

void scale_add(Device& device, float a, const float* x, float b, float* y, int64_t n) {
  if (n <= 0) return;
  launch(cuda_device(device), {grid_for(n), kBlockThreads}, scale_add_kernel, a, x, b, y, n);
}

void multiply(Device& device, float* x, int64_t ldx, const float* factor, int64_t ldf, int64_t n_rows,
              int64_t width) {
  if (n_rows * width <= 0) return;
  launch(cuda_device(device), {grid_for(n_rows * width), kBlockThreads}, multiply_kernel, x, ldx, factor, ldf,
         n_rows, width);
}

void bias_activation(Device& device, float* x, int64_t ldx, int64_t n_rows, int64_t width, const float* bias,
                     RowActivation activation) {
  if (n_rows * width <= 0) return;
  launch(cuda_device(device), {grid_for(n_rows * width), kBlockThreads}, bias_activation_kernel, x, ldx,
         n_rows, width, bias, activation);
}

void softcap(Device& device, float* x, int64_t n, float cap) {
  if (n <= 0) return;
  launch(cuda_device(device), {grid_for(n), kBlockThreads}, softcap_kernel, x, n, cap);
}

}  // namespace nanochat::cuda
