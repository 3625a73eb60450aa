// Allocation tracking: levels, pressure callbacks, leak report, metrics.
//
// Memory feeds it under one lock that both share, and the per-block data lives in the record that Memory
// keeps of the block anyway. So tracking costs a few stores and no allocation, no lock and no atomic
// operation of its own.
#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <time.h>

namespace nanochat {

// What is kept. minimal: counters; standard: also pressure, labels and ages of live blocks (on a clock of a
// few milliseconds); detailed: also totals per label and exact ages; debug: also a call stack per allocation.
enum class TrackingLevel : int32_t { off = 0, minimal = 1, standard = 2, detailed = 3, debug = 4 };
enum class PressureLevel : int32_t { none = 0, low = 1, medium = 2, high = 3, critical = 4 };

struct PressureEvent {
  PressureLevel level;
  double usage_fraction;  // used / budget
  uint64_t used_bytes, available_bytes;
  int64_t milliseconds_since_last_event;  // -1: the first
};

struct TrackerOptions {
  TrackingLevel level = TrackingLevel::standard;
  double pressure_thresholds[4] = {0.70, 0.80, 0.90,
                                   0.95};  // low, medium, high, critical; ascending, in (0, 1)
  int64_t pressure_cooldown_ms = 30000;
  int64_t leak_age_ms = 3600000;  // a block older than this is listed by leak_report()
  // Called without a lock held, on the thread whose allocation or release changed the level, when the last
  // call is pressure_cooldown_ms ago or more. What it throws is dropped. Needs a budget and level standard.
  std::function<void(const PressureEvent&)> on_pressure;
  int64_t (*now_ns)() = nullptr;  // the clock, for tests; nullptr: the monotonic clock
};

struct AllocationRecord {
  uint64_t id, bytes;
  const char* label;
  int32_t pool;
  int64_t age_ms;
  std::vector<void*> stack;  // level debug only
};

struct MemoryMetrics {
  uint64_t allocated_bytes_total, freed_bytes_total;
  uint64_t current_bytes, peak_bytes;
  uint64_t allocation_count, free_count, peak_allocation_count;
  uint64_t size_histogram[5];  // <= 4 KiB, 64 KiB, 1 MiB, 16 MiB, above
};

// Thread-safe. The level is fixed at construction.
class MemoryTracker {
 public:
  // The tracker's part of the record of one block. It stays in place from enroll() to retire(), through any
  // number of on_allocate() and on_free().
  struct Entry {
    uint64_t id = 0;  // 0: not live
    uint64_t bytes = 0;
    const char* label = nullptr;
    int64_t time_ns = 0;
    Entry* previous = nullptr;
    Entry* next = nullptr;
    std::unique_ptr<std::vector<void*>> stack;
    int32_t pool = 0;
  };

  // Throws config_invalid naming the field and the value. budget_bytes: what pressure is measured against, 0:
  // none.
  MemoryTracker(const TrackerOptions& options, uint64_t budget_bytes);
  ~MemoryTracker();
  MemoryTracker(const MemoryTracker&) = delete;
  MemoryTracker& operator=(const MemoryTracker&) = delete;

  // The lock of the ledger: guards the entries and counters here and the books of the Memory that feeds them.
  // The functions of this group are called with it held. `used_bytes` is what live blocks hold after the
  // event. They return whether a pressure event is due: take it with take_event() and deliver() it without
  // the lock.
  std::mutex& mutex() const { return mutex_; }
  void enroll(Entry& entry) noexcept;
  void retire(Entry& entry) noexcept;
  bool on_allocate(Entry& entry, uint64_t bytes, int32_t pool, const char* label,
                   uint64_t used_bytes) noexcept;
  bool on_free(Entry& entry, uint64_t bytes, uint64_t used_bytes) noexcept;
  std::optional<PressureEvent> take_event() noexcept;

  void deliver(const PressureEvent& event) const noexcept;
  // Before the lock is taken: what on_allocate() cannot do without failing. The stack is empty below level
  // debug.
  std::unique_ptr<std::vector<void*>> prepare(const char* label);

  // For any thread, without the lock held.
  TrackingLevel level() const { return options_.level; }
  MemoryMetrics metrics() const;
  PressureLevel pressure() const;
  std::vector<AllocationRecord> live_allocations() const;  // by id; empty below level standard
  std::vector<AllocationRecord> leak_report() const;       // live longer than leak_age_ms
  uint64_t metadata_bytes() const;                         // what tracking itself takes now
  std::string to_json() const;

 private:
  struct LabelTotals;

  int64_t now_ns() const noexcept;
  PressureLevel level_of(uint64_t used_bytes) const noexcept;
  void set_band(PressureLevel level) noexcept;
  void note_allocate(const Entry& entry) noexcept;
  void note_free(const Entry& entry) noexcept;
  std::vector<AllocationRecord> records(int64_t min_age_ms) const;

  const TrackerOptions options_;
  const uint64_t budget_bytes_;
  clockid_t clock_;
  mutable std::mutex mutex_;  // guards everything below

  uint64_t allocated_bytes_ = 0, freed_bytes_ = 0, peak_bytes_ = 0;
  uint64_t n_allocated_ = 0, n_freed_ = 0, peak_live_ = 0;
  uint64_t histogram_[5] = {};
  Entry* first_ = nullptr;  // of the enrolled entries, live or not
  uint64_t n_entries_ = 0;

  uint64_t used_bytes_ = 0;
  uint64_t thresholds_[4] = {};                        // in bytes
  uint64_t band_low_ = 0, band_width_ = ~uint64_t{0};  // use within the band of the last told level: no event
  PressureLevel told_level_ = PressureLevel::none;
  int64_t told_ns_ = -1;  // -1: never
  std::unique_ptr<LabelTotals> labels_;
};

inline int64_t MemoryTracker::now_ns() const noexcept {
  if (options_.now_ns != nullptr) return options_.now_ns();
  timespec now;
  ::clock_gettime(clock_, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Inline, with on_free(): together they are the whole cost of the levels up to standard.
inline bool MemoryTracker::on_allocate(Entry& entry, uint64_t bytes, int32_t pool, const char* label,
                                       uint64_t used_bytes) noexcept {
  if (options_.level == TrackingLevel::off) return false;
  ++n_allocated_;
  allocated_bytes_ += bytes;
  // Up to 4 KiB, then steps of 4 bits: 64 KiB, 1 MiB, 16 MiB and above.
  const int extra_bits = std::bit_width((bytes - (bytes != 0 ? 1 : 0)) >> 12);
  ++histogram_[extra_bits >= 16 ? 4 : (extra_bits + 3) / 4];
  const uint64_t current = allocated_bytes_ - freed_bytes_;
  if (current > peak_bytes_) peak_bytes_ = current;
  const uint64_t n_live = n_allocated_ - n_freed_;
  if (n_live > peak_live_) peak_live_ = n_live;
  if (options_.level == TrackingLevel::minimal) return false;
  entry.id = n_allocated_;
  entry.bytes = bytes;
  entry.label = label;
  entry.pool = pool;
  entry.time_ns = now_ns();
  used_bytes_ = used_bytes;
  if (options_.level >= TrackingLevel::detailed) note_allocate(entry);
  return used_bytes - band_low_ >= band_width_;
}

inline bool MemoryTracker::on_free(Entry& entry, uint64_t bytes, uint64_t used_bytes) noexcept {
  if (options_.level == TrackingLevel::off) return false;
  ++n_freed_;
  freed_bytes_ += bytes;
  if (options_.level == TrackingLevel::minimal) return false;
  if (options_.level >= TrackingLevel::detailed) note_free(entry);
  entry.id = 0;
  used_bytes_ = used_bytes;
  return used_bytes - band_low_ >= band_width_;
}

}  // namespace nanochat
