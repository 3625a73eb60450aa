// What the kernels reach of what the machine can do. One JSON line per shape; `share` is of the ceiling
// measured in the same run just before and after: bandwidth for one row, arithmetic for many, a plain copy
// for packing.
//   bench_kernels_bench [isa] [threads] [part of a name] [cpu]
// With "cpu" the clock is the processor time of this process per thread and the best of many passes counts:
// for a machine that others load too, whose work empties the caches.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "tensor/kernels.h"

namespace {

using namespace nanochat;

constexpr int64_t kColdBytes = int64_t{512} << 20;  // rotated through, so that no cache keeps the weights

std::string wanted;
double processor_share = 0;  // 0: wall clock; else 1 / threads

double now() {
  if (processor_share > 0) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC * processor_share;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds_of(const std::function<void()>& work) {
  const double start = now();
  work();
  return now() - start;
}

bool is_wanted(const std::string& name) { return wanted.empty() || name.find(wanted) != std::string::npos; }

void print(Device& device, const std::string& name, const char* unit, double rate, double ceiling) {
  std::printf(
      "{\"bench\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"%s\": %.2f, \"ceiling\": %.2f, \"share\": "
      "%.3f}\n",
      name.c_str(), device.isa().c_str(), device.threads().n_threads(), unit, rate / 1e9, ceiling / 1e9,
      rate / ceiling);
  std::fflush(stdout);
}

// Bandwidth by the clock in use. measure_rates() has a wall clock only; a scan for NaN reads just as much.
double read_rate(Device& device) {
  if (processor_share == 0) return device.kernels().measure_rates(device).read_bytes_per_second;
  static const Block buffer = [&] {
    Block block = device.memory().allocate(PoolKind::model, kColdBytes, "bench");
    std::memset(block.as<void>(), 0, block.bytes());
    return block;
  }();
  double best = 0;
  for (int pass = 0; pass < 5; ++pass) {
    const double seconds = seconds_of(
        [&] { device.kernels().find_not_finite(device, buffer.as<void>(), DType::f32, kColdBytes / 4); });
    best = std::max(best, static_cast<double>(kColdBytes) / seconds);
  }
  return best;
}

// Arithmetic is steady: the best figure of the whole run counts, so that a busy moment does not flatter.
double arithmetic_rate(Device& device, DType dtype) {
  static MeasuredRates best{};
  const MeasuredRates rates = device.kernels().measure_rates(device);
  best.f32_flops_per_second = std::max(best.f32_flops_per_second, rates.f32_flops_per_second);
  best.bf16_flops_per_second = std::max(best.bf16_flops_per_second, rates.bf16_flops_per_second);
  best.int8_ops_per_second = std::max(best.int8_ops_per_second, rates.int8_ops_per_second);
  if (dtype == DType::i8) return best.int8_ops_per_second;
  return dtype == DType::bf16 || dtype == DType::f8_e4m3 ? best.bf16_flops_per_second
                                                         : best.f32_flops_per_second;
}

void fill(float* data, int64_t n) {
  uint32_t state = 12345;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 1664525U + 1013904223U;
    data[i] = static_cast<float>(state >> 8) * 0x1p-23F - 1.0F;
  }
}

struct Weights {
  std::vector<Block> blocks;
  std::vector<PackedMatrix> matrices;
};

// Zeros would do for the time; small numbers keep sums away from subnormals.
Weights make_weights(Device& device, DType dtype, int64_t n, int64_t k, int64_t n_copies) {
  Weights weights;
  std::vector<float> rows(static_cast<size_t>(64 * k));
  fill(rows.data(), 64 * k);
  for (int64_t copy = 0; copy < n_copies; ++copy) {
    weights.blocks.push_back(device.memory().allocate(
        PoolKind::model, static_cast<uint64_t>(PackedMatrix::packed_bytes(dtype, n, k)), "bench"));
    const PackedMatrix matrix{.dtype = dtype, .n = n, .k = k, .data = weights.blocks.back().as<void>()};
    for (int64_t row = 0; row < n; row += 64) {
      device.kernels().pack_rows(device, matrix, row, std::min<int64_t>(64, n - row), rows.data(), DType::f32,
                                 nullptr);
    }
    weights.matrices.push_back(matrix);
  }
  return weights;
}

// The median rate of `passes` (by processor time: the best of three times as many), against the mean of the
// ceilings before and after.
void report(Device& device, const std::string& name, const char* unit, double amount, int passes,
            const std::function<double()>& ceiling, const std::function<void()>& work) {
  work();
  const double before = ceiling();
  std::vector<double> times;
  if (processor_share > 0) passes *= 3;
  for (int pass = 0; pass < passes; ++pass) times.push_back(seconds_of(work));
  const double after = ceiling();
  std::sort(times.begin(), times.end());
  const double counted = processor_share > 0 ? times.front() : times[times.size() / 2];
  print(device, name, unit, amount / counted, (before + after) / 2);
}

void bench_one_row(Device& device, DType dtype, int64_t n, int64_t k) {
  const std::string name =
      "linear " + std::string(dtype_name(dtype)) + " 1x" + std::to_string(k) + "x" + std::to_string(n);
  if (!is_wanted(name)) return;
  const int64_t bytes = PackedMatrix::packed_bytes(dtype, n, k);
  const Weights weights = make_weights(device, dtype, n, k, std::max<int64_t>(1, kColdBytes / bytes));
  std::vector<float> x(static_cast<size_t>(k)), y(static_cast<size_t>(n));
  fill(x.data(), k);
  report(
      device, name, "GB_per_s", static_cast<double>(bytes) * static_cast<double>(weights.matrices.size()), 7,
      [&] { return read_rate(device); },
      [&] {
        for (const PackedMatrix& w : weights.matrices) {
          device.kernels().linear(device, w, x.data(), k, 1, y.data(), n, LinearOutput::store);
        }
      });
}

void bench_many_rows(Device& device, DType dtype, int64_t m, int64_t n, int64_t k) {
  const std::string name = "linear " + std::string(dtype_name(dtype)) + " " + std::to_string(m) + "x" +
                           std::to_string(k) + "x" + std::to_string(n);
  if (!is_wanted(name)) return;
  const Weights weights = make_weights(device, dtype, n, k, 1);
  // From the pool, like the activations of a forward pass: its pages are large.
  const Block inputs =
      device.memory().allocate(PoolKind::working, static_cast<uint64_t>(m * k) * sizeof(float), "bench");
  const Block outputs =
      device.memory().allocate(PoolKind::working, static_cast<uint64_t>(m * n) * sizeof(float), "bench");
  const auto* x = inputs.as<float>();
  auto* y = outputs.as<float>();
  fill(inputs.as<float>(), m * k);
  report(
      device, name, "GFLOP_per_s",
      2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k), 9,
      [&] { return arithmetic_rate(device, dtype); },
      [&] { device.kernels().linear(device, weights.matrices[0], x, k, m, y, n, LinearOutput::store); });
}

void bench_pack(Device& device, DType source_dtype, DType target_dtype, int64_t n, int64_t k) {
  const std::string name = "pack_rows " + std::string(dtype_name(source_dtype)) + " to " +
                           std::string(dtype_name(target_dtype)) + " " + std::to_string(n) + "x" +
                           std::to_string(k);
  if (!is_wanted(name)) return;
  const int64_t source_bytes = n * k * dtype_size(source_dtype);
  const int64_t target_bytes = PackedMatrix::packed_bytes(target_dtype, n, k);
  const Block source =
      device.memory().allocate(PoolKind::model, static_cast<uint64_t>(source_bytes), "bench");
  const Block target = device.memory().allocate(
      PoolKind::model, static_cast<uint64_t>(std::max(source_bytes, target_bytes)), "bench");
  std::memset(source.as<void>(), 0x3c, static_cast<size_t>(source_bytes));
  const PackedMatrix matrix{.dtype = target_dtype, .n = n, .k = k, .data = target.as<void>()};
  const auto copy_rate = [&] {
    double best = 0;
    for (int pass = 0; pass < 5; ++pass) {
      const double seconds = seconds_of([&] {
        device.threads().parallel_for(source_bytes, 1 << 20, [&](int64_t begin, int64_t end) {
          std::memcpy(target.as<char>() + begin, source.as<char>() + begin, static_cast<size_t>(end - begin));
        });
      });
      best = std::max(best, 2.0 * static_cast<double>(source_bytes) / seconds);
    }
    return best;
  };
  report(device, name, "GB_per_s", static_cast<double>(source_bytes + target_bytes), 5, copy_rate, [&] {
    if (device.kernels().pack_rows(device, matrix, 0, n, source.as<void>(), source_dtype, nullptr) != -1)
      std::abort();
  });
}

// n_sequences at the same position, n_rows each.
void bench_attention(Device& device, DType dtype, int64_t n_rows, int64_t position, int64_t n_head,
                     int64_t n_kv_head, int64_t n_sequences = 1) {
  const int64_t head_dim = 128;
  const std::string name = "attention " + std::string(dtype_name(dtype)) + " " +
                           (n_sequences > 1 ? std::to_string(n_sequences) + "x" : "") +
                           std::to_string(n_rows) + " rows at " + std::to_string(position) + ", " +
                           std::to_string(n_head) + "/" + std::to_string(n_kv_head) + " heads";
  if (!is_wanted(name)) return;
  AttentionShape shape{n_head, n_kv_head, head_dim, -1, 1.0F / std::sqrt(128.0F)};
  shape.kv_dtype = dtype;
  // Pages have so many layers that they lie in huge pages, as a model's do.
  const int64_t n_pages = page_count(position + n_rows);
  const int64_t layer_bytes = shape.kv_layout().layer_bytes();
  const int64_t set_bytes = n_sequences * n_pages * layer_bytes;
  const int64_t n_layers =
      n_rows > 1 ? 1 : std::max((int64_t{4} << 20) / layer_bytes, kColdBytes / set_bytes);
  const int64_t cache_bytes = (position + n_rows) * layer_bytes / kPagePositions;
  const int64_t width = n_head * head_dim, n_all = n_sequences * n_rows;
  std::vector<float> q(static_cast<size_t>(n_all * width)), y(q.size());
  fill(q.data(), static_cast<int64_t>(q.size()));
  std::vector<float> kv(static_cast<size_t>(kPagePositions * n_kv_head * head_dim));
  fill(kv.data(), static_cast<int64_t>(kv.size()));
  std::vector<Block> blocks;
  std::vector<std::byte*> pages;
  for (int64_t i = 0; i < n_sequences * n_pages; ++i) {
    blocks.push_back(
        device.memory().allocate(PoolKind::working, static_cast<uint64_t>(n_layers * layer_bytes), "bench"));
    pages.push_back(blocks.back().as());
    const SequenceRows rows{0, kPagePositions, 0, &pages.back(), nullptr};
    for (int64_t layer = 0; layer < n_layers; ++layer) {
      shape.layer_offset = layer * layer_bytes;
      device.kernels().kv_append(device, {&rows, 1}, shape, kv.data(), kv.data(), n_kv_head * head_dim);
    }
  }
  std::vector<SequenceRows> rows;
  for (int64_t i = 0; i < n_sequences; ++i) {
    rows.push_back({.first_row = i * n_rows,
                    .n_rows = n_rows,
                    .position = position,
                    .pages = pages.data() + i * n_pages,
                    .previous = nullptr});
  }
  const auto work = [&] {
    for (int64_t layer = 0; layer < n_layers; ++layer) {
      shape.layer_offset = layer * layer_bytes;
      device.kernels().attention(device, rows, shape, q.data(), width, y.data(), width);
    }
  };
  if (n_rows == 1) {
    report(
        device, name, "GB_per_s", static_cast<double>(cache_bytes * n_sequences * n_layers), 7,
        [&] { return read_rate(device); }, work);
    return;
  }
  const double pairs =
      static_cast<double>(n_all) * (static_cast<double>(position) + (static_cast<double>(n_rows) + 1) / 2);
  report(
      device, name, "GFLOP_per_s", 4.0 * pairs * static_cast<double>(width), 9,
      [&] { return arithmetic_rate(device, DType::f32); }, work);
}

// Texts of n_rows tokens that look both ways, as encoders read them: their keys and values are put into
// pages, then attended.
void bench_texts(Device& device, DType dtype, int64_t n_texts, int64_t n_rows, int64_t n_head,
                 int64_t head_dim) {
  const std::string name = "attention " + std::string(dtype_name(dtype)) + " both ways " +
                           std::to_string(n_texts) + "x" + std::to_string(n_rows) + ", " +
                           std::to_string(n_head) + "x" + std::to_string(head_dim);
  if (!is_wanted(name)) return;
  AttentionShape shape{n_head, n_head, head_dim, -1, 1.0F / std::sqrt(static_cast<float>(head_dim))};
  shape.kv_dtype = dtype;
  shape.window_right = -1;
  const int64_t n_pages = n_texts * page_count(n_rows), width = n_head * head_dim, n_all = n_texts * n_rows;
  const int64_t page_bytes = shape.kv_layout().layer_bytes();
  const Block cache =
      device.memory().allocate(PoolKind::working, static_cast<uint64_t>(n_pages * page_bytes), "bench");
  std::vector<std::byte*> pages;
  for (int64_t i = 0; i < n_pages; ++i) pages.push_back(cache.as() + i * page_bytes);
  std::vector<SequenceRows> rows;
  for (int64_t i = 0; i < n_texts; ++i) {
    rows.push_back({i * n_rows, n_rows, 0, pages.data() + i * page_count(n_rows), nullptr});
  }
  std::vector<float> qkv(static_cast<size_t>(n_all * 3 * width)), y(static_cast<size_t>(n_all * width));
  fill(qkv.data(), static_cast<int64_t>(qkv.size()));
  const auto append = [&] {
    device.kernels().kv_append(device, rows, shape, qkv.data() + width, qkv.data() + 2 * width, 3 * width);
  };
  const auto attend = [&] {
    device.kernels().attention(device, rows, shape, qkv.data(), 3 * width, y.data(), width);
  };
  const double flops = 4.0 * static_cast<double>(n_all * n_rows * width);
  const DType rate = dtype == DType::f32 ? DType::f32 : DType::bf16;
  append();
  report(
      device, name, "GFLOP_per_s", flops, 25, [&] { return arithmetic_rate(device, rate); }, attend);
  report(
      device, name + " with kv_append", "GFLOP_per_s", flops, 25,
      [&] { return arithmetic_rate(device, rate); },
      [&] {
        append();
        attend();
      });
}

// What is done to rows between matrices, against the time of reading and writing them once: a plain copy.
void bench_rows(Device& device, const std::string& what, int64_t n_rows, int64_t width,
                const std::function<void(float* x, const float* weight)>& change) {
  const std::string name = what + " " + std::to_string(n_rows) + "x" + std::to_string(width);
  if (!is_wanted(name)) return;
  const int64_t n = n_rows * width;
  const Block rows =
      device.memory().allocate(PoolKind::working, static_cast<uint64_t>(n) * 2 * sizeof(float), "bench");
  std::vector<float> weight(static_cast<size_t>(width));
  fill(rows.as<float>(), 2 * n);
  fill(weight.data(), width);
  const auto copy_rate = [&] {
    double best = 0;
    for (int pass = 0; pass < 9; ++pass) {
      const double seconds = seconds_of([&] {
        device.threads().parallel_for(n, 1 << 16, [&](int64_t begin, int64_t end) {
          std::memcpy(rows.as<float>() + n + begin, rows.as<float>() + begin,
                      static_cast<size_t>(end - begin) * sizeof(float));
        });
      });
      best = std::max(best, 8.0 * static_cast<double>(n) / seconds);
    }
    return best;
  };
  report(device, name, "GB_per_s", 8.0 * static_cast<double>(n), 15, copy_rate,
         [&] { change(rows.as<float>(), weight.data()); });
}

void bench_row_operations(Device& device) {
  for (const auto& [n_rows, width] : {std::pair<int64_t, int64_t>{4096, 384}, {4096, 1024}, {8, 1024}}) {
    bench_rows(device, "layer_norm", n_rows, width, [&](float* x, const float* weight) {
      device.kernels().layer_norm(device, x, width, x, width, n_rows, width, 1e-12F, weight, weight);
    });
  }
  for (const auto& [name, activation] :
       {std::pair{"none", RowActivation::none}, std::pair{"relu", RowActivation::relu},
        std::pair{"gelu", RowActivation::gelu}, std::pair{"gelu_tanh", RowActivation::gelu_tanh},
        std::pair{"quick_gelu", RowActivation::quick_gelu}}) {
    for (const auto& [n_rows, width] : {std::pair<int64_t, int64_t>{4096, 1536}, {512, 4096}, {8, 4096}}) {
      bench_rows(device, std::string("bias_activation ") + name, n_rows, width,
                 [&](float* x, const float* bias) {
                   device.kernels().bias_activation(device, x, width, n_rows, width, bias, activation);
                 });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string isa = argc > 1 ? argv[1] : "";
  ThreadPool::Options options;
  options.n_threads = argc > 2 ? std::atoi(argv[2]) : 0;
  wanted = argc > 3 ? argv[3] : "";
  const auto device = make_cpu_device(Memory::create(make_host_memory(), {}),
                                      std::make_shared<ThreadPool>(options), std::make_shared<Log>(), isa);
  if (argc > 4 && std::string(argv[4]) == "cpu") processor_share = 1.0 / device->threads().n_threads();
  const MeasuredRates rates = device->kernels().measure_rates(*device);
  std::printf(
      "{\"bench\": \"rates\", \"isa\": \"%s\", \"threads\": %d, \"read_GB_per_s\": %.1f, "
      "\"f32_GFLOP_per_s\": %.1f, \"bf16_GFLOP_per_s\": %.1f}\n",
      device->isa().c_str(), device->threads().n_threads(), rates.read_bytes_per_second / 1e9,
      rates.f32_flops_per_second / 1e9, rates.bf16_flops_per_second / 1e9);
  for (const DType dtype : {DType::i8, DType::f8_e4m3, DType::bf16, DType::f32}) {
    for (const auto& [n, k] :
         {std::pair<int64_t, int64_t>{1280, 5120}, {5120, 1280}, {3840, 1280}, {65536, 1280}}) {
      bench_one_row(*device, dtype, n, k);
    }
    for (const auto& [n, k] :
         {std::pair<int64_t, int64_t>{1280, 5120}, {5120, 1280}, {3840, 1280}, {65536, 1280}}) {
      bench_many_rows(*device, dtype, 512, n, k);
    }
    for (const int64_t m : {4, 8, 16}) bench_many_rows(*device, dtype, m, 65536, 1280);
    // What a pass of an encoder multiplies: MiniLM-L6, e5-large.
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{1152, 384},
                               {384, 384},
                               {1536, 384},
                               {384, 1536},
                               {3072, 1024},
                               {1024, 1024},
                               {4096, 1024},
                               {1024, 4096}}) {
      bench_many_rows(*device, dtype, 1024, n, k);
    }
  }
  bench_pack(*device, DType::bf16, DType::bf16, 65536, 1280);
  bench_pack(*device, DType::bf16, DType::bf16, 16384, 5120);
  bench_pack(*device, DType::f32, DType::bf16, 32768, 1280);
  bench_pack(*device, DType::f32, DType::f32, 32768, 1280);
  bench_pack(*device, DType::f32, DType::i8, 32768, 1280);
  bench_pack(*device, DType::f32, DType::f8_e4m3, 32768, 1280);
  for (const DType dtype : {DType::f32, DType::bf16, DType::i8}) {
    bench_attention(*device, dtype, 1, 1023, 10, 10);
    bench_attention(*device, dtype, 1, 2047, 20, 5);
    bench_attention(*device, dtype, 1, 2047, 8, 1);
    bench_attention(*device, dtype, 1, 511, 10, 10, 16);
    bench_attention(*device, dtype, 512, 0, 10, 10);
    bench_attention(*device, dtype, 512, 1536, 10, 10);
    bench_attention(*device, dtype, 512, 0, 20, 5);
  }
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const auto& [n_head, head_dim] : {std::pair<int64_t, int64_t>{12, 32}, {16, 64}}) {
      bench_texts(*device, dtype, 32, 128, n_head, head_dim);
      bench_texts(*device, dtype, 1, 8, n_head, head_dim);
      bench_texts(*device, dtype, 1, 512, n_head, head_dim);
    }
  }
  bench_row_operations(*device);
  return 0;
}
