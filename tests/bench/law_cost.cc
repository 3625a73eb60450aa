// What the law of determinism costs: the bf16 product of linear(), one chain of sums per output over
// ascending k for any number of rows, beside loops that are free of it (two chains per output, added at the
// end). One thread, processor time, the least of many short turns taken alternately. One JSON line per shape;
// `ratio` is the time of the lawful product over that of the free one.
//   bench_law_cost
#include <cstdio>

#if defined(__x86_64__)
#include <algorithm>
#include <cstring>
#include <ctime>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "tensor/device.h"
#include "tensor/kernels.h"

#define NANOCHAT_FREE_ISA gnu::target("avx512f,avx512bw,avx512vl,avx512bf16")

namespace {

using namespace nanochat;

double now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// kRows rows of x (pairs of bf16) against one panel, even and odd steps in chains of their own.
template <int kRows>
[[NANOCHAT_FREE_ISA]] void free_tile(const char* w, int64_t n_steps, const uint32_t* x, int64_t ldx, float* y,
                                     int64_t ldy) {
  __m512 sums[2][kRows][4];
  for (auto& chain : sums) {
    for (auto& row : chain) {
      for (__m512& sum : row) sum = _mm512_setzero_ps();
    }
  }
  for (int64_t step = 0; step + 2 <= n_steps; step += 2) {
#pragma GCC unroll 2
    for (int chain = 0; chain < 2; ++chain) {
      __m512i weights[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const char* at = w + (step + chain) * 256 + v * 64;
        if constexpr (kRows == 1) __builtin_prefetch(at + 4096);
        weights[v] = _mm512_loadu_si512(at);
      }
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) {
        const __m512i input = _mm512_set1_epi32(static_cast<int>(x[row * ldx + step + chain]));
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          sums[chain][row][v] = _mm512_dpbf16_ps(sums[chain][row][v], reinterpret_cast<__m512bh>(weights[v]),
                                                 reinterpret_cast<__m512bh>(input));
        }
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int v = 0; v < 4; ++v) {
      _mm512_storeu_ps(y + row * ldy + v * 16, _mm512_add_ps(sums[0][row][v], sums[1][row][v]));
    }
  }
}

void free_linear(const PackedMatrix& w, const std::vector<uint32_t>& x, int64_t m, float* y) {
  const int64_t n_steps = w.k / 2;
  for (int64_t panel = 0; panel < w.n / 64; ++panel) {
    const char* data = static_cast<const char*>(w.data) + panel * n_steps * 256;
    int64_t row = 0;
    for (; row + 3 <= m; row += 3) {
      free_tile<3>(data, n_steps, x.data() + row * n_steps, n_steps, y + row * w.n + panel * 64, w.n);
    }
    for (; row < m; ++row) {
      free_tile<1>(data, n_steps, x.data() + row * n_steps, n_steps, y + row * w.n + panel * 64, w.n);
    }
  }
}

void compare(Device& device, int64_t m, int64_t n, int64_t k, int n_turns) {
  std::vector<float> x(static_cast<size_t>(m * k)), y(static_cast<size_t>(m * n)),
      rows(static_cast<size_t>(n * k));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 61) * 0.03F - 0.9F;
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 53) * 0.03F - 0.8F;
  std::vector<uint32_t> pairs(x.size() / 2);
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i] = bf16_from_float(x[2 * i]) | static_cast<uint32_t>(bf16_from_float(x[2 * i + 1])) << 16;
  }
  const Block block = device.memory().allocate(
      PoolKind::model, static_cast<uint64_t>(PackedMatrix::packed_bytes(DType::bf16, n, k)), "bench");
  const PackedMatrix w{.dtype = DType::bf16, .n = n, .k = k, .data = block.as<void>()};
  device.kernels().pack_rows(device, w, 0, n, rows.data(), DType::f32, nullptr);
  double lawful = 1e9, free = 1e9;
  for (int turn = 0; turn < n_turns; ++turn) {
    double start = now();
    device.kernels().linear(device, w, x.data(), k, m, y.data(), n, LinearOutput::store);
    lawful = std::min(lawful, now() - start);
    start = now();
    free_linear(w, pairs, m, y.data());
    free = std::min(free, now() - start);
  }
  const double operations = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  std::printf(
      "{\"bench\": \"law bf16 %ldx%ldx%ld\", \"lawful_GFLOP_per_s\": %.1f, \"free_GFLOP_per_s\": %.1f, "
      "\"ratio\": %.3f}\n",
      static_cast<long>(m), static_cast<long>(k), static_cast<long>(n), operations / lawful / 1e9,
      operations / free / 1e9, lawful / free);
}

}  // namespace

int main() {
  ThreadPool::Options options;
  options.n_threads = 1;
  const auto device = make_cpu_device(Memory::create(make_host_memory(), {}),
                                      std::make_shared<ThreadPool>(options), std::make_shared<Log>(), "");
  if (device->isa() != "avx512_bf16") {
    std::printf("{\"bench\": \"law\", \"skipped\": \"no avx512_bf16 here\"}\n");
    return 0;
  }
  compare(*device, 1, 65536, 1280, 9);
  compare(*device, 1, 5120, 1280, 60);
  compare(*device, 512, 1280, 1280, 9);
  compare(*device, 512, 1280, 5120, 5);
  return 0;
}
#else
int main() {
  std::printf("{\"bench\": \"law\", \"skipped\": \"x86-64 only\"}\n");
  return 0;
}
#endif
