// What allocation tracking costs at each level, in time and in memory, against the same work with tracking
// off.
//
// bare:   allocate and free blocks of mixed sizes, nothing else: the worst case there is.
// decode: the pattern of a decode step: some 30 working buffers of a layer come and go around arithmetic on
// them.
//
// Off and tracked rounds alternate, so that a change of the machine's speed hits both; the ratio is the
// median over all pairs. "null" compares off with off: what the method itself cannot tell apart from zero.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "base/random.h"
#include "memory/memory.h"

namespace {

using nanochat::Block;
using nanochat::Memory;
using nanochat::PoolKind;
using nanochat::TrackingLevel;

constexpr int kPairs = 301;

volatile float sink;

std::shared_ptr<Memory> make_memory(TrackingLevel level) {
  nanochat::MemoryOptions options;
  options.budget_bytes = uint64_t{1} << 30;
  options.tracker.level = level;
  options.tracker.on_pressure = [](const nanochat::PressureEvent&) {};
  return Memory::create(nanochat::make_host_memory(), options);
}

std::vector<uint64_t> mixed_sizes() {
  const nanochat::CounterRandom random(1, 0);
  std::vector<uint64_t> sizes;
  for (uint64_t i = 0; i < 1024; ++i)
    sizes.push_back((uint64_t{64} << random.bits(i) % 12) + random.bits(i + 4096) % 64);
  return sizes;
}

// Eight blocks live at a time, sizes 64 bytes to 128 KiB.
void bare_loop(Memory& memory) {
  static const std::vector<uint64_t> sizes = mixed_sizes();
  Block live[8];
  for (size_t i = 0; i < sizes.size() * 4; ++i) {
    live[i % 8] = memory.allocate(PoolKind::working, sizes[i % sizes.size()], "bare");
  }
}

float multiply_row(const float* x, int64_t n) {
  float sums[8] = {};
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    for (int k = 0; k < 8; ++k) sums[k] += x[i + k] * 0.999f;
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

// 12 layers of a small model, one token: buffers of a step, each written, and read as often as a matrix row
// needs.
void decode_step(Memory& memory) {
  constexpr int64_t kWidths[] = {768, 2304, 768, 768, 3072, 3072, 768, 768};
  constexpr int kReads =
      40;  // of each buffer; the real step reads a weight matrix per buffer, which costs more
  for (int layer = 0; layer < 12; ++layer) {
    Block buffers[std::size(kWidths)];
    for (size_t i = 0; i < std::size(kWidths); ++i) {
      const auto bytes = static_cast<uint64_t>(kWidths[i]) * sizeof(float);
      buffers[i] = memory.allocate(PoolKind::working, bytes, "decode");
      std::memset(buffers[i].as(), 1, bytes);
      for (int read = 0; read < kReads; ++read) sink = multiply_row(buffers[i].as<float>(), kWidths[i]);
    }
  }
}

double seconds_of(const std::function<void(Memory&)>& work, Memory& memory) {
  const auto start = std::chrono::steady_clock::now();
  work(memory);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void compare(const char* name, const std::function<void(Memory&)>& work, double operations,
             TrackingLevel level, const char* level_name) {
  const auto plain = make_memory(TrackingLevel::off);
  const auto tracked = make_memory(level);
  std::vector<double> ratios, plain_times, tracked_times;
  for (int i = 0; i < kPairs + 10; ++i) {
    const bool tracked_first = i % 2 == 0;
    const double first = seconds_of(work, tracked_first ? *tracked : *plain);
    const double second = seconds_of(work, tracked_first ? *plain : *tracked);
    if (i < 10) continue;  // the pools fill
    tracked_times.push_back(tracked_first ? first : second);
    plain_times.push_back(tracked_first ? second : first);
    ratios.push_back(tracked_times.back() / plain_times.back());
  }
  const auto stats = tracked->stats();
  const double held = static_cast<double>(stats.used_bytes + stats.reclaimable_bytes);
  std::printf(
      "{\"bench\": \"tracker_overhead\", \"work\": \"%s\", \"level\": \"%s\", \"time_ratio\": %.4f, "
      "\"plain_ns_per_block\": %.1f, \"tracked_ns_per_block\": %.1f, \"memory_ratio\": %.5f}\n",
      name, level_name, median(ratios), median(plain_times) / operations * 1e9,
      median(tracked_times) / operations * 1e9,
      1 + static_cast<double>(tracked->tracker().metadata_bytes()) / held);
}

}  // namespace

int main() {
  const std::pair<TrackingLevel, const char*> levels[] = {{TrackingLevel::off, "null"},
                                                          {TrackingLevel::minimal, "minimal"},
                                                          {TrackingLevel::standard, "standard"},
                                                          {TrackingLevel::detailed, "detailed"},
                                                          {TrackingLevel::debug, "debug"}};
  for (const auto& [level, name] : levels) compare("bare", bare_loop, 4096, level, name);
  for (const auto& [level, name] : levels) compare("decode", decode_step, 96, level, name);
}
