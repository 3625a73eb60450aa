#include "memory/memory.h"

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include <time.h>

#include "base/checked.h"
#include "base/error.h"

namespace nanochat {

// One piece of device memory and its place in the books. A working chunk outlives its blocks: it is kept and
// handed out again until it is reclaimed.
struct MemoryChunk {
  MemoryTracker::Entry entry;
  void* data = nullptr;
  uint64_t capacity = 0;
  MemoryChunk* next = nullptr;  // in a list of kept chunks
  PoolKind pool = PoolKind::model;
};

namespace {

constexpr uint64_t kSmallAlignment = 64;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxBytes = uint64_t{1} << 60;  // far above any device, far below wrap-around

// Size classes of the working pool: 16 per doubling, so that at most a sixteenth is wasted. Powers of two are
// classes.
constexpr int kClassBits = 4;
constexpr int kMinShift = 8;  // the smallest class has 256 bytes
constexpr int kMaxShift = 60;
constexpr size_t kClasses = static_cast<size_t>(kMaxShift - kMinShift + 1) << kClassBits;

uint64_t working_class_bytes(uint64_t bytes) {
  if (bytes <= uint64_t{1} << kMinShift) return uint64_t{1} << kMinShift;
  const int shift = std::bit_width(bytes - 1) - 1 - kClassBits;
  return round_up(bytes, uint64_t{1} << shift);
}

size_t class_index(uint64_t capacity) {
  const int exponent = std::bit_width(capacity) - 1;
  const uint64_t step = (capacity >> (exponent - kClassBits)) & ((1u << kClassBits) - 1);
  return (static_cast<size_t>(exponent - kMinShift) << kClassBits) + step;
}

size_t alignment_of(uint64_t capacity) { return capacity >= kHugePage ? kHugePage : kSmallAlignment; }

// What the working pool may hold beyond twice its peak use before it gives kept chunks back unasked.
constexpr uint64_t kKeptSlack = uint64_t{64} << 20;

const char* name_of(PoolKind pool) { return pool == PoolKind::model ? "model" : "working"; }

}  // namespace

struct Memory::State {
  State(std::shared_ptr<RawMemory> raw_memory, const MemoryOptions& options)
      : raw(std::move(raw_memory)), budget(options.budget_bytes), tracker(options.tracker, budget) {}

  const std::shared_ptr<RawMemory> raw;
  const uint64_t budget;
  MemoryTracker tracker;  // its mutex guards everything below
  std::condition_variable reclaimed;

  // charged: what counts against the budget: chunks, and those that a thread is about to get from the device.
  // taken: what the device gave. live: of blocks, by pool. kept: of free working chunks. returning: of chunks
  // that were kept and are on their way back to the device.
  uint64_t charged = 0, taken = 0, high_water = 0;
  uint64_t live[2] = {};
  uint64_t kept = 0, returning = 0, peak_working = 0;
  std::array<MemoryChunk*, kClasses> kept_chunks = {};

  std::array<MemoryEvent, Memory::kMostEvents> events = {};  // event i is at i % kMostEvents
  uint64_t n_events = 0;

  using Lock = std::unique_lock<std::mutex>;

  void note(const char* label, uint64_t bytes, bool is_free, bool success) noexcept {
    timespec now;
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    const int64_t unix_ms = int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
    events[n_events++ % Memory::kMostEvents] = {unix_ms, label, bytes, is_free, success, used()};
  }

  uint64_t& live_in(PoolKind pool) { return live[static_cast<size_t>(pool)]; }
  uint64_t used() const { return live[0] + live[1]; }
  uint64_t firm() const { return charged - kept - returning; }  // what no reclaiming can free
  bool could_fit(uint64_t bytes) const {
    return bytes <= kMaxBytes && (budget == 0 || (firm() <= budget && bytes <= budget - firm()));
  }

  [[noreturn]] void refuse(Lock& lock, Status status, const char* what, uint64_t bytes, const char* label);
  void reserve(PoolKind pool, uint64_t capacity, const char* label);
  void give_back(Lock& lock, uint64_t bytes) noexcept;
  MemoryChunk* take_kept(uint64_t capacity) noexcept;
  std::unique_ptr<MemoryChunk> new_chunk(PoolKind pool, uint64_t capacity, const char* label);
};

void Memory::State::refuse(Lock& lock, Status status, const char* what, uint64_t bytes, const char* label) {
  const uint64_t in_use = firm();
  note(label, bytes, false, false);
  lock.unlock();
  const uint64_t available = budget - std::min(budget, in_use);
  throw Error(status)
      .subject(label)
      .field("requested_bytes", bytes)
      .field("available_bytes", available)
      .field("used_bytes", in_use)
      .field("budget_bytes", budget)
      .say("{} for '{}': needs {} bytes, {} of the budget of {} bytes are used", what, label, bytes, in_use,
           budget);
}

// Frees kept chunks, largest first, until `bytes` or all are back at the device. Unlocks while it does; the
// bytes count as charged until the device has them, so that the budget holds at every moment.
void Memory::State::give_back(Lock& lock, uint64_t bytes) noexcept {
  MemoryChunk* list = nullptr;
  uint64_t found = 0;
  for (size_t i = kClasses; i-- > 0 && found < bytes;) {
    while (kept_chunks[i] != nullptr && found < bytes) {
      MemoryChunk* const chunk = kept_chunks[i];
      kept_chunks[i] = chunk->next;
      chunk->next = list;
      list = chunk;
      found += chunk->capacity;
      tracker.retire(chunk->entry);
    }
  }
  kept -= found;
  returning += found;
  lock.unlock();
  while (list != nullptr) {
    const std::unique_ptr<MemoryChunk> chunk(list);
    list = chunk->next;
    raw->free(chunk->data, chunk->capacity, alignment_of(chunk->capacity));
  }
  lock.lock();
  returning -= found;
  charged -= found;
  taken -= found;
  reclaimed.notify_all();
}

// Charges the budget for a new chunk, or throws. Kept chunks make room first.
void Memory::State::reserve(PoolKind pool, uint64_t capacity, const char* label) {
  Lock lock(tracker.mutex());
  // Without this, a program whose sizes keep changing would keep a chunk of every size it ever used.
  if (pool == PoolKind::working && capacity <= kMaxBytes) {
    const uint64_t wanted = live_in(pool) + capacity;
    const uint64_t limit = kKeptSlack + 2 * std::max(peak_working, wanted);
    if (wanted + kept > limit) give_back(lock, wanted + kept - limit);
  }
  while (true) {
    if (!could_fit(capacity)) {
      const bool is_model = pool == PoolKind::model;
      refuse(lock, is_model ? Status::budget_exceeded : Status::working_memory_exhausted,
             is_model ? "model memory" : "working memory", capacity, label);
    }
    if (budget == 0 || capacity <= budget - charged) break;
    if (kept > 0) {
      give_back(lock, capacity - (budget - charged));
    } else {
      reclaimed.wait(lock);  // another thread is giving back what we need
    }
  }
  charged += capacity;
}

MemoryChunk* Memory::State::take_kept(uint64_t capacity) noexcept {
  MemoryChunk*& head = kept_chunks[class_index(capacity)];
  MemoryChunk* const chunk = head;
  if (chunk == nullptr) return nullptr;
  head = chunk->next;
  kept -= capacity;
  return chunk;
}

// A chunk fresh from the device, charged and enrolled, in nobody's list.
std::unique_ptr<MemoryChunk> Memory::State::new_chunk(PoolKind pool, uint64_t capacity, const char* label) {
  auto chunk = std::make_unique<MemoryChunk>();
  reserve(pool, capacity, label);
  chunk->pool = pool;
  chunk->capacity = capacity;
  chunk->data = raw->allocate(capacity, alignment_of(capacity));
  if (chunk->data == nullptr) {  // what we keep may be what is missing
    {
      Lock lock(tracker.mutex());
      if (kept > 0) give_back(lock, kept);
    }
    chunk->data = raw->allocate(capacity, alignment_of(capacity));
  }
  Lock lock(tracker.mutex());
  if (chunk->data == nullptr) {
    charged -= capacity;
    note(label, capacity, false, false);
    reclaimed.notify_all();
    const uint64_t in_use = used();
    lock.unlock();
    Error error = raw->shortage(pool == PoolKind::model, capacity);
    error.subject(label).field("requested_bytes", capacity).field("used_bytes", in_use);
    if (!error.message().empty()) throw error;
    throw error.say("{} memory for '{}': the device has no {} bytes left; {} bytes are used", name_of(pool),
                    label, capacity, in_use);
  }
  taken += capacity;
  high_water = std::max(high_water, taken);
  tracker.enroll(chunk->entry);
  return chunk;
}

Block::~Block() {
  if (memory_) memory_->release(*this);
}

Block::Block(Block&& other) noexcept
    : memory_(std::move(other.memory_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      label_(other.label_),
      chunk_(std::exchange(other.chunk_, nullptr)) {}

Block& Block::operator=(Block&& other) noexcept {
  if (this == &other) return *this;
  Block old(std::move(*this));
  memory_ = std::move(other.memory_);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  label_ = other.label_;
  chunk_ = std::exchange(other.chunk_, nullptr);
  return *this;
}

std::shared_ptr<Memory> Memory::create(std::shared_ptr<RawMemory> raw, const MemoryOptions& options) {
  return std::shared_ptr<Memory>(new Memory(std::move(raw), options));
}

Memory::Memory(std::shared_ptr<RawMemory> raw, const MemoryOptions& options)
    : state_(std::make_unique<State>(std::move(raw), options)) {}

// No block is live: each keeps its Memory.
Memory::~Memory() { reclaim(); }

uint64_t Memory::allocation_bytes(PoolKind pool, uint64_t bytes) {
  if (bytes > kMaxBytes) return std::numeric_limits<uint64_t>::max();
  if (pool == PoolKind::working) return working_class_bytes(bytes);
  return round_up(std::max<uint64_t>(bytes, 1), bytes >= kHugePage ? kPage : kSmallAlignment);
}

Block Memory::allocate(PoolKind pool, uint64_t bytes, const char* label) {
  State& state = *state_;
  MemoryTracker& tracker = state.tracker;
  if (label == nullptr) label = "";
  const uint64_t capacity = allocation_bytes(pool, bytes);
  auto stack = tracker.prepare(label);
  State::Lock lock(tracker.mutex());
  MemoryChunk* chunk =
      pool == PoolKind::working && capacity <= kMaxBytes ? state.take_kept(capacity) : nullptr;
  if (chunk == nullptr) {
    lock.unlock();
    chunk = state.new_chunk(pool, capacity, label).release();
    lock.lock();
  }
  // From here on nothing fails.
  state.live_in(pool) += capacity;
  state.peak_working = std::max(state.peak_working, state.live[1]);
  const bool event_due =
      tracker.on_allocate(chunk->entry, bytes, static_cast<int32_t>(pool), label, state.used());
  if (stack) chunk->entry.stack = std::move(stack);
  if (pool == PoolKind::model) state.note(label, capacity, false, true);
  Block block;
  block.memory_ = shared_from_this();
  block.data_ = chunk->data;
  block.bytes_ = bytes;
  block.label_ = label;
  block.chunk_ = chunk;
  const std::optional<PressureEvent> event = event_due ? tracker.take_event() : std::nullopt;
  lock.unlock();
  if (event) tracker.deliver(*event);
  return block;
}

void Memory::release(Block& block) noexcept {
  State& state = *state_;
  MemoryTracker& tracker = state.tracker;
  std::unique_ptr<MemoryChunk> ended;
  MemoryChunk* const chunk = block.chunk_;
  if (chunk->pool == PoolKind::model) {
    // Before it leaves the books, so that the budget holds at every moment.
    state.raw->free(chunk->data, chunk->capacity, alignment_of(chunk->capacity));
  }
  State::Lock lock(tracker.mutex());
  state.live_in(chunk->pool) -= chunk->capacity;
  const bool event_due = tracker.on_free(chunk->entry, block.bytes_, state.used());
  if (chunk->pool == PoolKind::working) {
    MemoryChunk*& head = state.kept_chunks[class_index(chunk->capacity)];
    chunk->next = head;
    head = chunk;
    state.kept += chunk->capacity;
  } else {
    state.charged -= chunk->capacity;
    state.taken -= chunk->capacity;
    state.note(block.label_, chunk->capacity, true, true);
    tracker.retire(chunk->entry);
    ended.reset(chunk);
    if (state.returning > 0) state.reclaimed.notify_all();
  }
  const std::optional<PressureEvent> event = event_due ? tracker.take_event() : std::nullopt;
  lock.unlock();
  if (event) tracker.deliver(*event);
}

void Memory::require_available(uint64_t bytes, const char* label) {
  State::Lock lock(state_->tracker.mutex());
  if (!state_->could_fit(bytes)) state_->refuse(lock, Status::budget_exceeded, "memory", bytes, label);
}

void Memory::reclaim() {
  State::Lock lock(state_->tracker.mutex());
  if (state_->kept > 0) state_->give_back(lock, state_->kept);
}

uint64_t Memory::device_total_bytes() const { return state_->raw->total_bytes(); }
uint64_t Memory::device_available_bytes() const { return state_->raw->available_bytes(); }

MemoryStats Memory::stats() const {
  MemoryStats stats = {};
  stats.device_total_bytes = device_total_bytes();
  stats.device_available_bytes = device_available_bytes();
  const State::Lock lock(state_->tracker.mutex());
  stats.used_bytes = state_->used();
  stats.high_water_bytes = state_->high_water;
  stats.budget_bytes = state_->budget;
  stats.model_bytes = state_->live[0];
  stats.working_bytes = state_->live[1];
  stats.reclaimable_bytes = state_->kept;
  return stats;
}

std::vector<MemoryEvent> Memory::history() const {
  std::vector<MemoryEvent> events;
  events.reserve(kMostEvents);
  const State::Lock lock(state_->tracker.mutex());
  const uint64_t n = std::min<uint64_t>(state_->n_events, kMostEvents);
  for (uint64_t i = state_->n_events - n; i < state_->n_events; ++i) {
    events.push_back(state_->events[i % kMostEvents]);
  }
  return events;
}

MemoryTracker& Memory::tracker() { return state_->tracker; }

}  // namespace nanochat
