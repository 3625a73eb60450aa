#include "kernels/rates.h"

#include <atomic>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "tensor/device.h"

namespace nanochat {

namespace {

constexpr uint64_t kReadBytes = uint64_t{512} << 20;
constexpr uint64_t kLeastReadBytes = uint64_t{64} << 20;
constexpr int64_t kPieceFloats = int64_t{1} << 20;
constexpr int kReadPasses = 8;
constexpr int kArithmeticPasses = 4;
constexpr double kPassSeconds = 0.012;  // long against the time to wake a worker

double seconds_of(FunctionRef<void()> work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A tight budget gets a smaller buffer rather than no figure.
Block allocate_buffer(Memory& memory) {
  for (uint64_t bytes = kReadBytes;; bytes /= 2) {
    try {
      return memory.allocate(PoolKind::working, bytes, "bandwidth measurement");
    } catch (const Error&) {
      if (bytes <= kLeastReadBytes) throw;
    }
  }
}

double read_rate(Device& device, float (*sum)(const float*, int64_t)) {
  const Block buffer = allocate_buffer(device.memory());
  auto* data = buffer.as<float>();
  const auto n_pieces = static_cast<int64_t>(buffer.bytes() / sizeof(float)) / kPieceFloats;
  device.threads().parallel_for(n_pieces, 1, [&](int64_t begin, int64_t end) {
    std::memset(data + begin * kPieceFloats, 0,
                static_cast<size_t>(end - begin) * kPieceFloats * sizeof(float));
  });
  double best = 0.0;
  std::atomic<float> sink{0.0F};
  for (int pass = 0; pass < kReadPasses; ++pass) {
    const double seconds = seconds_of([&] {
      device.threads().parallel_for(n_pieces, 1, [&](int64_t begin, int64_t end) {
        sink.store(sum(data + begin * kPieceFloats, (end - begin) * kPieceFloats), std::memory_order_relaxed);
      });
    });
    best = std::max(best, static_cast<double>(n_pieces * kPieceFloats * 4) / seconds);
  }
  return best;
}

double arithmetic_rate(Device& device, int64_t (*loop)(int64_t)) {
  int64_t iterations = 1000;
  while (seconds_of([&] { loop(iterations); }) < kPassSeconds / 2) iterations *= 2;
  const int64_t n_threads = device.threads().n_threads();
  double best = 0.0;
  for (int pass = 0; pass < kArithmeticPasses; ++pass) {
    std::atomic<int64_t> operations{0};
    const double seconds = seconds_of([&] {
      device.threads().parallel_for(n_threads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) operations += loop(iterations);
      });
    });
    best = std::max(best, static_cast<double>(operations.load()) / seconds);
  }
  return best;
}

}  // namespace

MeasuredRates measure_rates_with(Device& device, const RateLoops& loops) {
  MeasuredRates rates{};
  rates.f32_flops_per_second = arithmetic_rate(device, loops.f32_multiply_add);
  rates.bf16_flops_per_second = arithmetic_rate(device, loops.bf16_multiply_add);
  rates.int8_ops_per_second = arithmetic_rate(device, loops.int8_multiply_add);
  rates.read_bytes_per_second = read_rate(device, loops.sum);
  device.memory().reclaim();  // half a gigabyte must not stay behind in the working pool
  return rates;
}

}  // namespace nanochat
