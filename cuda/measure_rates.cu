// What this GPU can do: the best of a few runs of loops that do nothing else. The sizes follow the number of
// multiprocessors, so that a run takes about as long on any GPU.
#include <algorithm>
#include <chrono>

#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/grid.h"
#include "hardware/numbers.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

constexpr int kRuns = 5;
constexpr int kChains = 8;
constexpr int kBlocksPerMultiprocessor = 4;

// `answer` is written in a case that never happens: without it nothing would be computed.
__global__ void read_kernel(const uint4* data, int64_t n, unsigned* answer) {
  wait_for_earlier_kernels();
  unsigned bits = 0;
  for (int64_t i = first_index(); i < n; i += index_step()) {
    const uint4 words = load_once(data + i);
    bits |= words.x | words.y | words.z | words.w;
  }
  if (bits == 1) *answer = bits;
}

__global__ void f32_kernel(int iterations, float factor, unsigned* answer) {
  wait_for_earlier_kernels();
  float sums[kChains] = {};
  for (int i = 0; i < iterations; ++i) {
#pragma unroll
    for (float& sum : sums) sum = fmaf(sum, factor, factor);
  }
  float total = 0.0F;
  for (const float sum : sums) total += sum;
  if (total == 12345.0F) *answer = 1;
}

__global__ void bf16_kernel(int iterations, uint32_t pair, unsigned* answer) {
  wait_for_earlier_kernels();
  const uint32_t a[4] = {pair, pair + threadIdx.x, pair, pair};
  const uint32_t b[2] = {pair, pair + threadIdx.x};
  float sums[kChains][4] = {};
  for (int i = 0; i < iterations; ++i) {
#pragma unroll
    for (auto& sum : sums) mma_bf16(sum, a, b);
  }
  float total = 0.0F;
  for (const auto& sum : sums) total += sum[0] + sum[1] + sum[2] + sum[3];
  if (total == 12345.0F) *answer = 1;
}

__global__ void int8_kernel(int iterations, uint32_t four, unsigned* answer) {
  wait_for_earlier_kernels();
  const uint32_t a[4] = {four, four + threadIdx.x, four, four};
  const uint32_t b[2] = {four, four + threadIdx.x};
  int32_t sums[kChains][4] = {};
  for (int i = 0; i < iterations; ++i) {
#pragma unroll
    for (auto& sum : sums) mma_s8(sum, a, b);
  }
  int32_t total = 0;
  for (const auto& sum : sums) total += sum[0] + sum[1] + sum[2] + sum[3];
  if (total == 12345) *answer = 1;
}

const KernelList kKernels{kernel_handle(read_kernel), kernel_handle(f32_kernel), kernel_handle(bf16_kernel),
                          kernel_handle(int8_kernel)};

template <class Run>
double best_seconds(CudaDevice& device, Run run) {
  double best = 1e30;
  for (int i = 0; i < kRuns; ++i) {
    device.synchronize();
    const auto began = std::chrono::steady_clock::now();
    run();
    device.synchronize();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return best;
}

}  // namespace

MeasuredRates measure_rates(Device& device) {
  constexpr int64_t kBytesPerMultiprocessor = int64_t{8} << 20;
  constexpr int64_t kWarpsPerBlock = kBlockThreads / kWarp;
  constexpr int64_t kBf16Flops = 16 * 8 * 16 * 2, kInt8Ops = 16 * 8 * 32 * 2;  // of one instruction
  CudaDevice& gpu = cuda_device(device);
  const int64_t n_multiprocessors = gpu.limits().n_multiprocessors;
  const int64_t n_bytes = kBytesPerMultiprocessor * n_multiprocessors;
  const Scratch data(gpu, static_cast<size_t>(n_bytes), "rates"), answer(gpu, sizeof(unsigned), "rates");
  const auto n_blocks = static_cast<unsigned>(n_multiprocessors * kBlocksPerMultiprocessor);
  const LaunchShape shape{dim3(n_blocks), kBlockThreads};
  const int iterations = gpu.limits().n_multiprocessors > 8 ? 1 << 14 : 16;  // of an emulator few
  const auto n_warps = static_cast<double>(n_blocks * kWarpsPerBlock);
  const auto rate = [&](double operations_per_warp, double seconds) {
    return n_warps * operations_per_warp * iterations * kChains / seconds;
  };
  MeasuredRates rates{};
  rates.read_bytes_per_second =
      static_cast<double>(n_bytes) / best_seconds(gpu, [&] {
        launch(gpu, shape, read_kernel, data.as<uint4>(), n_bytes / static_cast<int64_t>(sizeof(uint4)),
               answer.as<unsigned>());
      });
  rates.f32_flops_per_second = rate(kWarp * 2.0, best_seconds(gpu, [&] {
                                      launch(gpu, shape, f32_kernel, iterations, 0.5F, answer.as<unsigned>());
                                    }));
  rates.bf16_flops_per_second =
      rate(kBf16Flops, best_seconds(gpu, [&] {
             launch(gpu, shape, bf16_kernel, iterations, 0x3f003f00U, answer.as<unsigned>());
           }));
  rates.int8_ops_per_second =
      rate(kInt8Ops, best_seconds(gpu, [&] {
             launch(gpu, shape, int8_kernel, iterations, 0x01020304U, answer.as<unsigned>());
           }));
  return rates;
}

}  // namespace nanochat::cuda
