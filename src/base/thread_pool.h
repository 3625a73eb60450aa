// A fixed set of workers for short parallel loops. Idle workers sleep; between the loops of one call they
// watch for the next one (ThreadPool::Burst).
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace nanochat {

// A non-owning reference to a callable: two words, no allocation. Always inlined: files compiled for a newer
// instruction set include this, and must not emit a copy that the linker could choose for everybody.
template <class>
class FunctionRef;
template <class R, class... A>
class FunctionRef<R(A...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>) [[gnu::always_inline]] FunctionRef(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, A... arguments) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(arguments...);
        }) {}
  [[gnu::always_inline]] R operator()(A... arguments) const { return call_(object_, arguments...); }

 private:
  void* object_;
  R (*call_)(void*, A...);
};

class ThreadPool {
 public:
  struct Options {
    int n_threads = 0;          // including the caller; 0: one per available core
    int spin_microseconds = 0;  // how long an idle worker spins before it sleeps
    const int* cpus = nullptr;  // affinity of thread i: cpus[i]; nullptr: none
    int n_cpus = 0;
  };
  explicit ThreadPool(const Options& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const;

  // While one exists, loops follow each other closely: a thread that runs out of work spins for a moment
  // before it sleeps, which costs less than being woken. Not where there are more threads than cores.
  class Burst {
   public:
    explicit Burst(ThreadPool& pool);
    ~Burst();
    Burst(const Burst&) = delete;
    Burst& operator=(const Burst&) = delete;

   private:
    ThreadPool& pool_;
  };

  // Runs body(begin, end) over disjoint pieces that cover [0, n), each a multiple of `grain` long but the
  // last. Pieces are claimed by workers as they come free; the result must not depend on who runs which
  // piece. Blocks until all are done; the first exception is rethrown. Concurrent callers are served one
  // after another; a call from inside a body runs inline.
  void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nanochat
