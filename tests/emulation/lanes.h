// The threads of a block while a kernel runs: what device code sees of itself, and where lanes meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vector_types.h"

namespace nanochat::emulation {

struct Fiber;
struct Warp;

enum class Meeting : uint8_t {
  none,
  block_barrier,
  warp_barrier,
  shuffle,
  shuffle_xor,
  shuffle_up,
  shuffle_down,
  ballot,
  any,
  all,
  match_any,
  reduce,
  mma_bf16,
  mma_s8,
  load_matrices
};

// A copy that was started and has not arrived.
struct AsyncCopy {
  void* shared;
  const void* global;  // nullptr: zeros
  unsigned group;
};

struct Lane {
  uint3 index;      // threadIdx
  unsigned number;  // in the warp
  Warp* warp;
  Fiber* fiber;  // nullptr: has not begun
  Meeting meeting;
  unsigned mask;
  bool has_ended, has_waited_for_kernels;
  std::vector<AsyncCopy> copies;  // that have not arrived, oldest first
  unsigned n_committed;           // groups of copies
};

extern Lane* current_lane;
extern unsigned char* launch_shared;  // the block's shared memory of the size that the launch asked for

// All lanes of the mask come here with the same mask and operation; the last one runs complete() for all:
// operands[i] is lane i's. Returns when that is done.
using Complete = void (*)(void* const (&operands)[32], unsigned mask);
void meet_warp(Meeting, unsigned mask, void* operand, Complete);

// All threads of the block. Returns the number of threads that came with `vote`.
int meet_block(bool vote);

void note_wait_for_kernels();

void begin_async_copy(void* shared, const void* global, bool is_there);
void commit_async_copies();
void wait_async_copies(unsigned groups_left);

// Prints the sentence with the kernel, the block and the thread, and ends the process: the kernel is wrong.
[[noreturn]] void fail_kernel(const char* format, ...) __attribute__((format(printf, 1, 2)));

const char* name_of(Meeting);

}  // namespace nanochat::emulation
