// What one parallel_for costs: an empty loop, and loops of known work compared with the same work in one
// thread. Prints one JSON line per case; medians over many calls, so that a busy machine shows in p95 and not
// in p50.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/thread_pool.h"

namespace {

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

// About `rounds` nanoseconds of dependent arithmetic.
uint64_t work(uint64_t seed, int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) seed = seed * 6364136223846793005u + 1442695040888963407u;
  return seed;
}

volatile uint64_t sink;

struct Times {
  double p50, p95;
};

template <class F>
Times measure(int n_calls, F&& call) {
  std::vector<double> times;
  for (int i = 0; i < n_calls; ++i) {
    const auto start = Clock::now();
    call();
    times.push_back(microseconds_since(start));
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 95 / 100]};
}

void run(int n_threads, int spin_microseconds, int64_t rounds_per_item) {
  nanochat::ThreadPool::Options options;
  options.n_threads = n_threads;
  options.spin_microseconds = spin_microseconds;
  nanochat::ThreadPool pool(options);
  constexpr int64_t kItems = 64;
  const auto body = [&](int64_t begin, int64_t end) {
    uint64_t sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += work(static_cast<uint64_t>(i), rounds_per_item);
    sink = sum;
  };
  const Times serial = measure(3000, [&] { body(0, kItems); });
  const Times parallel = measure(3000, [&] { pool.parallel_for(kItems, 1, body); });
  std::printf(
      "{\"bench\": \"thread_pool_latency\", \"threads\": %d, \"spin_us\": %d, \"serial_us\": %.2f, "
      "\"parallel_us\": %.2f, \"parallel_p95_us\": %.2f, \"speedup\": %.2f}\n",
      n_threads, spin_microseconds, serial.p50, parallel.p50, parallel.p95, serial.p50 / parallel.p50);
}

}  // namespace

int main() {
  for (const int n_threads : {1, 2}) {
    for (const int spin : {0, 50}) {
      for (const int64_t rounds : {0, 100, 1000, 10000}) run(n_threads, spin, rounds);
    }
  }
}
