#include "base/thread_pool.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// Counts allocations of this test program. Sanitizers bring their own allocator.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const pointer = std::malloc(bytes == 0 ? 1 : bytes)) return pointer;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* pointer) noexcept { std::free(pointer); }
[[gnu::noinline]] void operator delete(void* pointer, size_t) noexcept { std::free(pointer); }
#endif

namespace nanochat {
namespace {

ThreadPool::Options with_threads(int n_threads, int spin_microseconds = 0) {
  ThreadPool::Options options;
  options.n_threads = n_threads;
  options.spin_microseconds = spin_microseconds;
  return options;
}

class EveryThreadCount : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(ThreadPool, EveryThreadCount, testing::Range(1, 9));

TEST_P(EveryThreadCount, CoversTheRangeExactlyOnceInPiecesOfTheGrain) {
  for (const int spin : {0, 20}) {
    ThreadPool pool(with_threads(GetParam(), spin));
    EXPECT_EQ(pool.n_threads(), GetParam());
    for (const int64_t n : {1, 2, 7, 64, 1000, 4097}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
        std::atomic<int> bad_pieces{0};
        pool.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          const bool fits = begin >= 0 && begin < end && end <= n && begin % grain == 0;
          if (!fits || (end != n && end % grain != 0)) ++bad_pieces;
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        EXPECT_EQ(bad_pieces, 0) << n << " " << grain;
        for (const auto& count : visits) ASSERT_EQ(count, 1) << n << " " << grain;
      }
    }
  }
}

TEST_P(EveryThreadCount, SeesWhatTheCallerWroteAndShowsWhatTheBodiesWrote) {
  ThreadPool pool(with_threads(GetParam()));
  std::vector<int64_t> values(512, 1);
  for (int round = 0; round < 300; ++round) {
    pool.parallel_for(512, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(i)] += round;
    });
    values[static_cast<size_t>(round)] += 1;
  }
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 1 + 299 * 300 / 2 + (i < 300 ? 1 : 0));
}

TEST_P(EveryThreadCount, RethrowsOneOfTheExceptionsAndStaysUsable) {
  ThreadPool pool(with_threads(GetParam()));
  for (int round = 0; round < 50; ++round) {
    std::string message;
    try {
      pool.parallel_for(100, 1, [&](int64_t begin, int64_t) {
        if (begin >= round) throw std::runtime_error("piece");
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    // One thread runs everything as one piece that begins at 0.
    EXPECT_EQ(message, GetParam() > 1 || round == 0 ? "piece" : "");
    std::atomic<int64_t> sum{0};
    pool.parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum, 100);
  }
}

TEST(ThreadPool, DoesNothingForAnEmptyRange) {
  ThreadPool pool(with_threads(2));
  int calls = 0;
  pool.parallel_for(0, 1, [&](int64_t, int64_t) { ++calls; });
  pool.parallel_for(-5, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(ThreadPool, CoversRangesNearTheLargestNumber) {
  ThreadPool pool(with_threads(3));
  constexpr int64_t kMax = INT64_MAX;
  std::atomic<int64_t> last{0}, total{0};
  pool.parallel_for(kMax, 1, [&](int64_t begin, int64_t end) {
    total += end - begin;
    if (end == kMax) last = end;
  });
  EXPECT_EQ(total, kMax);
  EXPECT_EQ(last, kMax);
}

TEST(ThreadPool, RefusesBadOptions) {
  const int cpu = 100'000;
  ThreadPool::Options no_such_cpu = with_threads(2);
  const int cpus[] = {0, cpu};
  no_such_cpu.cpus = cpus;
  no_such_cpu.n_cpus = 2;
  const auto status_of = [](const ThreadPool::Options& options) {
    try {
      ThreadPool pool(options);
    } catch (const Error& error) {
      return error.status();
    }
    return Status::ok;
  };
  EXPECT_EQ(status_of(with_threads(-1)), Status::invalid_argument);
  EXPECT_EQ(status_of(with_threads(1'000'000)), Status::invalid_argument);
  EXPECT_EQ(status_of(with_threads(1, -1)), Status::invalid_argument);
  EXPECT_EQ(status_of(no_such_cpu), Status::thread_failed);
  ThreadPool pool(with_threads(2));
  EXPECT_THROW(pool.parallel_for(10, 0, [](int64_t, int64_t) {}), Error);
}

TEST(ThreadPool, TakesOneThreadPerAvailableCoreByDefault) {
  cpu_set_t cpus;
  ASSERT_EQ(::sched_getaffinity(0, sizeof cpus, &cpus), 0);
  EXPECT_EQ(ThreadPool(with_threads(0)).n_threads(), CPU_COUNT(&cpus));
}

TEST(ThreadPool, BindsWorkersToTheCpusAskedFor) {
  cpu_set_t available;
  ASSERT_EQ(::sched_getaffinity(0, sizeof available, &available), 0);
  int cpu = 0;
  while (!CPU_ISSET(static_cast<size_t>(cpu), &available)) ++cpu;
  const int cpus[] = {cpu, cpu, cpu};
  ThreadPool::Options options = with_threads(3);
  options.cpus = cpus;
  options.n_cpus = 3;
  ThreadPool pool(options);
  const auto caller = std::this_thread::get_id();
  std::atomic<int> wrong{0};
  for (int round = 0; round < 200; ++round) {
    pool.parallel_for(64, 1, [&](int64_t, int64_t) {
      if (std::this_thread::get_id() != caller && ::sched_getcpu() != cpu) ++wrong;
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, RunsNestedCallsInline) {
  ThreadPool pool(with_threads(4)), other(with_threads(4));
  std::atomic<int64_t> sum{0};
  std::atomic<int> elsewhere{0};
  pool.parallel_for(32, 1, [&](int64_t begin, int64_t end) {
    const auto self = std::this_thread::get_id();
    for (ThreadPool* const inner : {&pool, &other}) {
      inner->parallel_for(end - begin, 1, [&](int64_t inner_begin, int64_t inner_end) {
        if (std::this_thread::get_id() != self) ++elsewhere;
        sum += inner_end - inner_begin;
      });
    }
  });
  EXPECT_EQ(sum, 64);
  EXPECT_EQ(elsewhere, 0);
}

TEST(ThreadPool, ServesConcurrentCallers) {
  ThreadPool pool(with_threads(3));
  std::vector<std::thread> callers;
  std::atomic<int64_t> wrong{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int64_t> sum{0};
        const int64_t n = 10 + c * 7 + round;
        pool.parallel_for(n, 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) sum += i;
        });
        if (sum != n * (n - 1) / 2) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, RunsTheLoopsOfOverlappingBurstsLikeAnyOthers) {
  ThreadPool::Options options;
  options.n_threads = 2;
  ThreadPool pool(options);
  std::atomic<int64_t> sum{0};
  const auto add_all = [&] {
    const ThreadPool::Burst burst(pool);
    for (int loop = 0; loop < 500; ++loop) {
      pool.parallel_for(64, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    }
  };
  std::thread other(add_all);
  add_all();
  other.join();
  EXPECT_EQ(sum, 2 * 500 * 64);
}

TEST(ThreadPool, LivesAndDiesManyTimes) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool a(with_threads(1 + round % 4)), b(with_threads(2));
    std::atomic<int64_t> sum{0};
    if (round % 3 != 0) a.parallel_for(20, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    if (round % 2 != 0) b.parallel_for(20, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum, (round % 3 != 0 ? 20 : 0) + (round % 2 != 0 ? 20 : 0));
  }
}

TEST(ThreadPool, AllocatesNothingPerLoop) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer owns the allocator";
  ThreadPool pool(with_threads(4));
  std::atomic<int64_t> sum{0};
  const auto body = [&](int64_t begin, int64_t end) { sum += end - begin; };
  pool.parallel_for(100, 1, body);
  const int64_t before = allocations;
  for (int round = 0; round < 100; ++round) pool.parallel_for(100, 1, body);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(sum, 101 * 100);
}

TEST(ThreadPool, RunsInlineInAForkedChildAndIsDestroyedThere) {
  if (kSanitized) GTEST_SKIP() << "sanitizers have threads of their own that fork does not copy";
  auto pool = std::make_unique<ThreadPool>(with_threads(3));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int64_t sum = 0;  // not atomic: one thread
    pool->parallel_for(1000, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    pool.reset();
    ::_exit(sum == 1000 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  std::atomic<int64_t> sum{0};
  pool->parallel_for(1000, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  EXPECT_EQ(sum, 1000);
}

TEST(FunctionRef, CallsWhatItRefersToAndCanBeCopied) {
  int calls = 0;
  const auto count = [&](int by) { return calls += by; };
  FunctionRef<int(int)> first(count);
  FunctionRef<int(int)> second(first);
  EXPECT_EQ(first(2), 2);
  EXPECT_EQ(second(3), 5);
}

}  // namespace
}  // namespace nanochat
