// The GPU's primary context, current for as long as the library works and never longer: whatever context the
// host program has made current comes back, and no context is made on another GPU by the way.
#pragma once

#include <cuda_runtime.h>

namespace nanochat::cuda {

class Context {
 public:
  explicit Context(int device_index);  // retains the primary context; throws cuda_init_failed
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  void push() const noexcept;  // makes it the thread's current one
  void pop() const noexcept;
  bool is_current() const noexcept;

 private:
  int device_;
  void* handle_ = nullptr;
};

// Around every use of CUDA.
class UseContext {
 public:
  explicit UseContext(const Context& context) : context_(context), is_pushed_(!context.is_current()) {
    if (is_pushed_) context_.push();
  }
  ~UseContext() {
    if (is_pushed_) context_.pop();
  }
  UseContext(const UseContext&) = delete;
  UseContext& operator=(const UseContext&) = delete;

 private:
  const Context& context_;
  bool is_pushed_;
};

}  // namespace nanochat::cuda
