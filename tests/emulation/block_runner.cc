#include "block_runner.h"

#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "fibers.h"
#include "kernel_language.h"
#include "module_symbols.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace nanochat::emulation {

Lane* current_lane = nullptr;

struct Rendezvous {
  unsigned mask = 0, arrived = 0;
  Meeting meeting = Meeting::none;
};

struct Warp {
  static constexpr int kMost = 32;  // disjoint masks
  unsigned number = 0;
  unsigned runnable = 0;
  unsigned members = 0;
  int n_open = 0;  // of rendezvous
  Rendezvous rendezvous[kMost];
  void* operands[32];
  Lane* lanes = nullptr;
};

namespace {

struct Block {
  const KernelBody* body = nullptr;
  Order order = Order::ascending;
  unsigned n_threads = 0, n_ended = 0, n_at_barrier = 0, n_votes = 0;
  int vote_result = 0;
  unsigned runnable_warps = 0;
  Fiber* running_fiber = nullptr;
  std::vector<Lane> lanes;
  std::vector<Warp> warps;
};
Block& block = *new Block;

unsigned pick(unsigned set) {
  return block.order == Order::ascending ? static_cast<unsigned>(std::countr_zero(set))
                                         : 31U - static_cast<unsigned>(std::countl_zero(set));
}

void make_runnable(Warp& warp, unsigned lanes) {
  warp.runnable |= lanes;
  block.runnable_warps |= 1U << warp.number;
}

[[noreturn]] void report_deadlock();

void set_current(Lane* lane) {
  current_lane = lane;
  if (lane != nullptr) threadIdx = lane->index;
}

// The thread that runs next; nullptr when all have ended.
Lane* take_next() {
  if (block.runnable_warps == 0) {
    if (block.n_ended == block.n_threads) return nullptr;
    report_deadlock();
  }
  Warp& warp = block.warps[pick(block.runnable_warps)];
  const unsigned lane = pick(warp.runnable);
  warp.runnable &= ~(1U << lane);
  if (warp.runnable == 0) block.runnable_warps &= ~(1U << warp.number);
  return &warp.lanes[lane];
}

void thread_ended() {
  Lane& lane = *current_lane;
  if (block.body->must_wait_for_kernels && !lane.has_waited_for_kernels) {
    fail_kernel("ended without wait_for_earlier_kernels()");
  }
  lane.has_ended = true;
  lane.fiber = nullptr;
  ++block.n_ended;
}

void fiber_main() {
  enter_fiber();
  for (;;) {
    Fiber* const self = block.running_fiber;
    block.body->invoke(block.body->kernel, block.body->arguments);
    thread_ended();
    Lane* const next = take_next();
    if (next != nullptr && next->fiber == nullptr) {
      next->fiber = self;
      set_current(next);
      continue;
    }
    give_fiber(self);
    set_current(next);
    Fiber& target = next != nullptr ? *next->fiber : host_fiber();
    block.running_fiber = &target;
    switch_fiber(*self, target);
  }
}

void switch_to(Lane& next, Fiber& from) {
  if (next.fiber == nullptr) next.fiber = take_fiber(fiber_main);
  set_current(&next);
  block.running_fiber = next.fiber;
  switch_fiber(from, *next.fiber);
}

void yield() {
  Lane* const self = current_lane;
  Lane* const next = take_next();
  if (next != self) switch_to(*next, *self->fiber);
}

Rendezvous& find_rendezvous(Warp& warp, unsigned mask) {
  for (int i = 0; i < warp.n_open; ++i) {
    if (warp.rendezvous[i].mask == mask) return warp.rendezvous[i];
  }
  Rendezvous& fresh = warp.rendezvous[warp.n_open++];
  fresh = {.mask = mask, .arrived = 0, .meeting = current_lane->meeting};
  return fresh;
}

void shape_block(dim3 shape) {
  block.n_threads = shape.x * shape.y * shape.z;
  block.lanes.resize(block.n_threads);
  block.warps.resize((block.n_threads + 31) / 32);
  for (unsigned i = 0; i < block.n_threads; ++i) {
    Lane& lane = block.lanes[i];
    lane.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    lane.number = i % 32;
    lane.warp = &block.warps[i / 32];
  }
}

void reset_block() {
  block.n_ended = block.n_at_barrier = block.n_votes = 0;
  block.runnable_warps = 0;
  for (unsigned i = 0; i < block.n_threads; ++i) {
    Lane& lane = block.lanes[i];
    lane.fiber = nullptr;
    lane.meeting = Meeting::none;
    lane.mask = 0;
    lane.has_ended = lane.has_waited_for_kernels = false;
    lane.copies.clear();
    lane.n_committed = 0;
  }
  for (unsigned i = 0; i < block.warps.size(); ++i) {
    Warp& warp = block.warps[i];
    const unsigned n_members = block.n_threads - i * 32;
    warp.number = i;
    warp.lanes = &block.lanes[i * 32];
    warp.members = n_members >= 32 ? ~0U : (1U << n_members) - 1U;
    warp.runnable = 0;
    warp.n_open = 0;
    make_runnable(warp, warp.members);
  }
}

// --- what is wrong ---------------------------------------------------------------------------------------

std::string text_of(uint3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

std::string hexadecimal(unsigned value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

void report_warp(const Warp& warp) {
  for (int i = 0; i < warp.n_open; ++i) {
    const Rendezvous& open = warp.rendezvous[i];
    unsigned ended = 0, elsewhere = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned bit = 1U << lane;
      if ((open.mask & ~open.arrived & warp.members & bit) == 0) continue;
      (warp.lanes[lane].has_ended ? ended : elsewhere) |= bit;
    }
    std::fprintf(stderr, "  warp %u: lanes %s wait at %s with mask %s", warp.number,
                 hexadecimal(open.arrived).c_str(), name_of(open.meeting), hexadecimal(open.mask).c_str());
    if (ended != 0) std::fprintf(stderr, "; lanes %s have ended", hexadecimal(ended).c_str());
    if (elsewhere != 0) std::fprintf(stderr, "; lanes %s wait elsewhere", hexadecimal(elsewhere).c_str());
    if ((open.mask & ~warp.members) != 0) {
      std::fprintf(stderr, "; lanes %s are not in the block", hexadecimal(open.mask & ~warp.members).c_str());
    }
    std::fprintf(stderr, "\n");
  }
}

void report_deadlock() {
  std::fprintf(stderr, "CUDA emulator: %s: its threads wait for each other for ever\n",
               describe_place().c_str());
  for (const Warp& warp : block.warps) report_warp(warp);
  unsigned n_running = 0;
  for (const Lane& lane : block.lanes) n_running += lane.has_ended ? 0 : 1;
  if (block.n_at_barrier > 0) {
    std::fprintf(stderr, "  %u of %u threads wait at __syncthreads(), %u have ended\n", block.n_at_barrier,
                 block.n_threads, block.n_threads - n_running);
    for (const Lane& lane : block.lanes) {
      if (lane.meeting == Meeting::block_barrier) continue;
      std::fprintf(stderr, "  the first that does not: thread %s, %s\n", text_of(lane.index).c_str(),
                   lane.has_ended ? "which has ended" : name_of(lane.meeting));
      break;
    }
  }
  std::abort();
}

}  // namespace

std::string describe_place() {
  if (block.body == nullptr) return "";
  std::string text = "kernel " + name_of_function(reinterpret_cast<const void*>(block.body->kernel)) +
                     ", block " + text_of(blockIdx);
  if (current_lane != nullptr) text += ", thread " + text_of(current_lane->index);
  return text;
}

void fail_kernel(const char* format, ...) {
  std::fprintf(stderr, "CUDA emulator: %s: ", describe_place().c_str());
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n");
  std::abort();
}

const char* name_of(Meeting meeting) {
  static constexpr const char* kNames[] = {
      "no barrier",         "__syncthreads()",    "__syncwarp()",    "__shfl_sync()", "__shfl_xor_sync()",
      "__shfl_up_sync()",   "__shfl_down_sync()", "__ballot_sync()", "__any_sync()",  "__all_sync()",
      "__match_any_sync()", "__reduce_sync()",    "mma_bf16()",      "mma_s8()",      "load_matrices()"};
  return kNames[static_cast<int>(meeting)];
}

void meet_warp(Meeting meeting, unsigned mask, void* operand, Complete complete) {
  Lane& lane = *current_lane;
  Warp& warp = *lane.warp;
  const unsigned bit = 1U << lane.number;
  lane.meeting = meeting;
  if ((mask & bit) == 0) fail_kernel("%s with mask 0x%08x, which is not its own", name_of(meeting), mask);
  Rendezvous& open = find_rendezvous(warp, mask);
  if (open.meeting != meeting) {
    fail_kernel("is at %s while lanes 0x%08x of its warp wait for it at %s", name_of(meeting), open.arrived,
                name_of(open.meeting));
  }
  warp.operands[lane.number] = operand;
  open.arrived |= bit;
  if (open.arrived == mask) {
    if (complete != nullptr) complete(warp.operands, mask);
    open = warp.rendezvous[--warp.n_open];
    make_runnable(warp, mask);
  }
  yield();
  lane.meeting = Meeting::none;
}

int meet_block(bool vote) {
  Lane& lane = *current_lane;
  lane.meeting = Meeting::block_barrier;
  block.n_votes += vote ? 1 : 0;
  if (++block.n_at_barrier == block.n_threads) {
    block.vote_result = static_cast<int>(block.n_votes);
    block.n_at_barrier = block.n_votes = 0;
    for (Warp& warp : block.warps) make_runnable(warp, warp.members);
  }
  yield();
  lane.meeting = Meeting::none;
  return block.vote_result;
}

void note_wait_for_kernels() { current_lane->has_waited_for_kernels = true; }

void run_block(const KernelBody& body, uint3 block_index, dim3 block_shape, dim3 grid_shape, Order order) {
  if (blockDim.x != block_shape.x || blockDim.y != block_shape.y || blockDim.z != block_shape.z ||
      block.lanes.empty()) {
    shape_block(block_shape);
  }
  blockIdx = block_index;
  blockDim = block_shape;
  gridDim = grid_shape;
  block.body = &body;
  block.order = order;
  reset_block();
  switch_to(*take_next(), host_fiber());
  block.body = nullptr;
}

}  // namespace nanochat::emulation
