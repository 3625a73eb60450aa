#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/signals_blocked.h"

namespace nanochat {

namespace {

using Word = std::atomic<uint32_t>;
static_assert(sizeof(Word) == sizeof(uint32_t), "the kernel looks at the word itself");

constexpr int kMaxThreads = 1024;
// More pieces than threads, so that a late worker does not leave the others waiting.
constexpr int64_t kPiecesPerThread = 8;
// How long a caller watches the last pieces of others before it sleeps: about what a wake-up costs. A loop of
// 70 us on two threads takes 35 us with it and 50 us without. Workers that have nothing to do never spin for
// it.
constexpr std::chrono::microseconds kTailSpin{20};
// The same within a burst, for everybody: longer than what lies between two loops of a forward pass.
constexpr std::chrono::microseconds kBurstSpin{50};

void sleep_while(Word& word, uint32_t value) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(Word& word, int n_threads) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, n_threads, nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins for at most `limit`. True when the word is no longer `value`.
bool spin_while(const Word& word, uint32_t value, std::chrono::microseconds limit) {
  if (limit.count() == 0) return word.load(std::memory_order_acquire) != value;
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 32; ++i) {
      if (word.load(std::memory_order_acquire) != value) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

int available_cores() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (::sched_getaffinity(0, sizeof cpus, &cpus) == 0) return std::max(1, CPU_COUNT(&cpus));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// True while this thread runs a body of any pool. A call from there runs inline even if it goes to another
// pool: two pools that wait for each other would never wake up.
thread_local bool inside_body = false;

class InsideBody {
 public:
  InsideBody() { inside_body = true; }
  ~InsideBody() { inside_body = false; }
};

}  // namespace

// How a loop runs. The caller writes the job, opens the gate, moves the epoch and wakes sleepers; then it
// claims pieces like everybody else. A worker that wakes up enters through the gate, if it is still open, and
// claims pieces. When none are left the caller closes the gate and waits only for the workers that are
// inside: one that has not woken up yet is not waited for. The job is written only while the gate is closed
// and nobody is inside.
struct ThreadPool::State {
  static constexpr uint32_t kOpen = 1u << 31;

  std::mutex callers;  // one loop at a time; guards the job below until the gate opens
  FunctionRef<void(int64_t, int64_t)>* body = nullptr;
  int64_t n = 0, piece = 0, n_pieces = 0;
  std::exception_ptr error;  // written by the one that sets failed

  alignas(64) Word gate{0};  // kOpen and the number of workers inside
  alignas(64) Word epoch{0};
  Word sleepers{0};  // workers that sleep on epoch, or are about to
  std::atomic<bool> stopping{false};
  alignas(64) std::atomic<int64_t> next_piece{0};
  std::atomic<bool> failed{false};

  alignas(64) std::atomic<int> bursts{0};
  std::chrono::microseconds spin{0};
  bool fits_cores = false;  // a thread that spins takes no core from one that works
  pid_t process = 0;
  std::vector<std::thread> workers;

  bool forked() const { return ::getpid() != process; }
  std::chrono::microseconds patience() const {
    const bool in_burst = fits_cores && bursts.load(std::memory_order_relaxed) > 0;
    return in_burst ? std::max(spin, kBurstSpin) : spin;
  }
  void start(const Options& options, int n_workers);
  void stop() noexcept;
  void worker_main();
  bool enter();
  void leave();
  void run_pieces();
  void run(int64_t n_items, int64_t grain, FunctionRef<void(int64_t, int64_t)>& function);
};

void ThreadPool::State::start(const Options& options, int n_workers) {
  const SignalsBlocked signals_blocked;
  try {
    workers.reserve(static_cast<size_t>(n_workers));
    for (int i = 0; i < n_workers; ++i) workers.emplace_back([this] { worker_main(); });
  } catch (const std::system_error& failure) {
    const size_t started = workers.size();
    stop();
    throw Error(Status::thread_failed)
        .os_code(failure.code().value())
        .say("cannot start thread {} of {}: {}", started + 2, n_workers + 1, failure.code().message());
  } catch (...) {  // memory is short: the threads that run must be joined before they are destroyed
    stop();
    throw;
  }
  for (int i = 0; i < n_workers; ++i) {
    const pthread_t thread = workers[static_cast<size_t>(i)].native_handle();
    char name[16] = "nanochat-";  // as long as the system takes; a name is a courtesy
    std::to_chars(name + std::strlen(name), name + sizeof name - 1, i + 1);
    ::pthread_setname_np(thread, name);
    if (options.cpus == nullptr || i + 1 >= options.n_cpus) continue;
    const int cpu = options.cpus[i + 1];
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<size_t>(cpu), &cpus);
    if (const int code = ::pthread_setaffinity_np(thread, sizeof cpus, &cpus); code != 0) {
      stop();
      throw Error(Status::thread_failed)
          .subject("cpus")
          .os_code(code)
          .say("cannot bind thread {} to CPU {}: {}", i + 1, cpu, std::generic_category().message(code));
    }
  }
}

void ThreadPool::State::stop() noexcept {
  stopping.store(true);
  epoch.fetch_add(1);
  wake(epoch, INT_MAX);
  for (std::thread& worker : workers) worker.join();
  workers.clear();
}

void ThreadPool::State::worker_main() {
  uint32_t seen = 0;
  while (true) {
    if (!spin_while(epoch, seen, patience())) {
      // Announced before the look at the epoch inside the kernel; the caller moves the epoch before it looks
      // at the sleepers. So either it sees a sleeper or the sleep ends at once.
      sleepers.fetch_add(1);
      sleep_while(epoch, seen);
      sleepers.fetch_sub(1);
      if (epoch.load(std::memory_order_acquire) == seen) continue;
    }
    seen = epoch.load(std::memory_order_acquire);
    if (stopping.load()) return;
    if (!enter()) continue;
    run_pieces();
    leave();
  }
}

bool ThreadPool::State::enter() {
  uint32_t value = gate.load(std::memory_order_relaxed);
  while ((value & kOpen) != 0) {
    if (gate.compare_exchange_weak(value, value + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadPool::State::leave() {
  const bool closed_and_empty = gate.fetch_sub(1, std::memory_order_release) == 1;
  if (closed_and_empty) wake(gate, 1);
}

void ThreadPool::State::run_pieces() {
  const InsideBody mark;
  while (true) {
    const int64_t index = next_piece.fetch_add(1, std::memory_order_relaxed);
    if (index >= n_pieces) return;
    const int64_t begin = index * piece;
    try {
      (*body)(begin, begin + std::min(n - begin, piece));
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
      next_piece.store(n_pieces, std::memory_order_relaxed);  // the rest would be thrown away
    }
  }
}

void ThreadPool::State::run(int64_t n_items, int64_t grain, FunctionRef<void(int64_t, int64_t)>& function) {
  const int64_t n_grains = n_items / grain + (n_items % grain != 0 ? 1 : 0);
  const int64_t most_pieces = static_cast<int64_t>(workers.size() + 1) * kPiecesPerThread;
  const int64_t grains_per_piece = n_grains / most_pieces + (n_grains % most_pieces != 0 ? 1 : 0);
  body = &function;
  n = n_items;
  piece = grains_per_piece * grain;
  n_pieces = n_items / piece + (n_items % piece != 0 ? 1 : 0);
  failed.store(false, std::memory_order_relaxed);
  next_piece.store(0, std::memory_order_relaxed);
  gate.store(kOpen, std::memory_order_release);
  epoch.fetch_add(1);
  const int useful = static_cast<int>(std::min<int64_t>(n_pieces - 1, static_cast<int64_t>(workers.size())));
  if (sleepers.load() > 0) wake(epoch, useful);

  run_pieces();

  uint32_t inside = gate.fetch_and(~kOpen, std::memory_order_acquire) & ~kOpen;
  while (inside != 0) {
    if (!spin_while(gate, inside, std::max(patience(), kTailSpin))) sleep_while(gate, inside);
    inside = gate.load(std::memory_order_acquire);
  }
}

ThreadPool::ThreadPool(const Options& options) : state_(std::make_unique<State>()) {
  if (options.n_threads < 0 || options.n_threads > kMaxThreads) {
    throw Error(Status::invalid_argument)
        .subject("n_threads")
        .say("n_threads is {}, expected 0 to {}", options.n_threads, kMaxThreads);
  }
  if (options.spin_microseconds < 0 || options.n_cpus < 0 ||
      (options.n_cpus > 0 && options.cpus == nullptr)) {
    throw Error(Status::invalid_argument)
        .say("thread options: spin_microseconds {} and n_cpus {} must not be negative, and n_cpus needs cpus",
             options.spin_microseconds, options.n_cpus);
  }
  const int n_threads = options.n_threads > 0 ? options.n_threads : std::min(available_cores(), kMaxThreads);
  state_->process = ::getpid();
  state_->spin = std::chrono::microseconds(options.spin_microseconds);
  state_->fits_cores = n_threads <= available_cores();
  state_->start(options, n_threads - 1);
}

ThreadPool::~ThreadPool() {
  if (state_->forked()) {
    // The workers do not exist in this process: joining them would wait for ever. What is left of them leaks.
    static_cast<void>(state_.release());
    return;
  }
  state_->stop();
}

ThreadPool::Burst::Burst(ThreadPool& pool) : pool_(pool) {
  pool_.state_->bursts.fetch_add(1, std::memory_order_relaxed);
}

ThreadPool::Burst::~Burst() { pool_.state_->bursts.fetch_sub(1, std::memory_order_relaxed); }

int ThreadPool::n_threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (grain < 1)
    throw Error(Status::invalid_argument).say("parallel_for: grain is {}, expected 1 or more", grain);
  if (n <= 0) return;
  if (inside_body || n <= grain || state_->workers.empty() || state_->forked()) {
    body(0, n);
    return;
  }
  std::exception_ptr error;
  {
    const std::lock_guard lock(state_->callers);
    state_->run(n, grain, body);
    error = std::exchange(state_->error, nullptr);
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace nanochat
