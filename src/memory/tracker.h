// Allocation tracking: levels, pressure callbacks, leak report, metrics.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace nanochat {

// What is kept, from counters alone to a call stack per allocation.
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
  double pressure_thresholds[4] = {0.70, 0.80, 0.90, 0.95};  // low, medium, high, critical; ascending, in (0, 1)
  int64_t pressure_cooldown_ms = 30000;
  int64_t leak_age_ms = 3600000;  // a block older than this is listed by leak_report()
  std::function<void(const PressureEvent&)> on_pressure;  // called without a lock held
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
  explicit MemoryTracker(const TrackerOptions& options);  // throws config_invalid naming the field and value
  ~MemoryTracker();

  uint64_t on_allocate(uint64_t bytes, int32_t pool, const char* label, uint64_t used_bytes, uint64_t budget_bytes);
  void on_free(uint64_t id, uint64_t bytes, uint64_t used_bytes, uint64_t budget_bytes) noexcept;

  TrackingLevel level() const;
  MemoryMetrics metrics() const;
  PressureLevel pressure() const;
  std::vector<AllocationRecord> live_allocations() const;  // empty below level standard
  std::vector<AllocationRecord> leak_report() const;       // live longer than leak_age_ms
  std::string to_json() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nanochat
