#include "fibers.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <sys/mman.h>

#include "sanitizers.h"

// Saves what the ABI says a function leaves unchanged, and continues on another stack.
asm(R"(
.text
.globl nanochat_emulation_switch
.hidden nanochat_emulation_switch
.type nanochat_emulation_switch, @function
nanochat_emulation_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size nanochat_emulation_switch, . - nanochat_emulation_switch
)");
extern "C" void nanochat_emulation_switch(void** save, void* load);

namespace nanochat::emulation {

namespace {

#ifdef NANOCHAT_ASAN
constexpr size_t kStackBytes = size_t{512} << 10;
#else
constexpr size_t kStackBytes = size_t{128} << 10;
#endif
constexpr size_t kGuardBytes = 4096;

// Never destroyed, as all that the emulator keeps: devices may outlive any static object.
std::vector<Fiber*>& free_fibers = *new std::vector<Fiber*>;
Fiber* previous = nullptr;
size_t n_fibers = 0;

Fiber* make_fiber(void (*body)()) {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    std::fprintf(stderr, "CUDA emulator: no memory for the stack of a thread\n");
    std::abort();
  }
  auto* fiber = new Fiber;
  fiber->bottom = static_cast<std::byte*>(memory) + kGuardBytes;
  fiber->bytes = kStackBytes;
  // Tops at the same place of a page would all want the same lines of the cache.
  const size_t stagger = (n_fibers++ * 576) % 4096 / 16 * 16;
  auto* top = reinterpret_cast<void**>(static_cast<std::byte*>(memory) + kGuardBytes + kStackBytes - stagger);
  *--top = nullptr;  // no caller; on entry the stack must be 8 bytes off a multiple of 16
  *--top = reinterpret_cast<void*>(body);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber->stack_pointer = top;
  return fiber;
}

}  // namespace

Fiber* take_fiber(void (*body)()) {
  if (free_fibers.empty()) return make_fiber(body);
  Fiber* const fiber = free_fibers.back();
  free_fibers.pop_back();
  return fiber;
}

void give_fiber(Fiber* fiber) { free_fibers.push_back(fiber); }

Fiber& host_fiber() {
  static Fiber host;
  return host;
}

void switch_fiber(Fiber& from, Fiber& to) {
  previous = &from;
#ifdef NANOCHAT_ASAN
  __sanitizer_start_switch_fiber(&from.sanitizer_stack, to.bottom, to.bytes);
#endif
  nanochat_emulation_switch(&from.stack_pointer, to.stack_pointer);
#ifdef NANOCHAT_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(from.sanitizer_stack, &bottom, &bytes);
  if (previous == &host_fiber()) {
    previous->bottom = bottom;
    previous->bytes = bytes;
  }
#endif
}

void enter_fiber() {
#ifdef NANOCHAT_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (previous == &host_fiber()) {
    previous->bottom = bottom;
    previous->bytes = bytes;
  }
#endif
}

}  // namespace nanochat::emulation
