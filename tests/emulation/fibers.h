// Stacks on which emulated threads run, and the switch between them.
#pragma once

#include <cstddef>

namespace nanochat::emulation {

struct Fiber {
  void* stack_pointer = nullptr;
  void* sanitizer_stack = nullptr;
  const void* bottom = nullptr;
  size_t bytes = 0;
};

// Fibers that nobody uses; kept for the life of the process.
Fiber* take_fiber(
    void (*body)());  // a new one runs body(), which never returns; an old one goes on where it was
void give_fiber(Fiber*);

// `from` is what runs now. Returns when somebody switches back to it.
void switch_fiber(Fiber& from, Fiber& to);
// First thing on a new fiber.
void enter_fiber();

Fiber& host_fiber();  // whoever runs kernels now

}  // namespace nanochat::emulation
