#include "memory/tracker.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <execinfo.h>

#include "base/error.h"
#include "base/json.h"

namespace nanochat {

struct MemoryTracker::LabelTotals {
  struct Totals {
    uint64_t n_allocated = 0, allocated_bytes = 0, live_bytes = 0, peak_bytes = 0;
  };
  // Keyed by content: the same literal has several addresses.
  std::unordered_map<std::string_view, Totals> by_label;
};

namespace {

constexpr int64_t kMaxCooldownMs = 300'000;
constexpr int64_t kNanosecondsPerMs = 1'000'000;
constexpr int kMaxStackDepth = 32;
constexpr const char* kLevelNames[] = {"off", "minimal", "standard", "detailed", "debug"};
constexpr const char* kPressureNames[] = {"none", "low", "medium", "high", "critical"};
constexpr const char* kThresholdNames[] = {"pressure_thresholds.low", "pressure_thresholds.medium",
                                           "pressure_thresholds.high", "pressure_thresholds.critical"};

template <class T>
[[noreturn]] void refuse(const char* field, T value, const char* expected) {
  throw Error(Status::config_invalid)
      .subject(field)
      .field("field", field)
      .say("memory tracking: {} is {}, expected {}", field, value, expected);
}

TrackerOptions checked(const TrackerOptions& options) {
  const auto level = static_cast<int32_t>(options.level);
  if (level < 0 || level > static_cast<int32_t>(TrackingLevel::debug)) refuse("level", level, "0 to 4");
  double below = 0;
  for (int i = 0; i < 4; ++i) {
    const double value = options.pressure_thresholds[i];
    if (!(value > 0 && value < 1)) refuse(kThresholdNames[i], value, "more than 0 and less than 1");
    if (!(value > below)) {
      refuse(kThresholdNames[i], value, format_text("more than {}, the one before", below).c_str());
    }
    below = value;
  }
  const int64_t cooldown = options.pressure_cooldown_ms;
  if (cooldown < 0 || cooldown > kMaxCooldownMs) refuse("pressure_cooldown_ms", cooldown, "0 to 300000");
  if (options.leak_age_ms < 0) refuse("leak_age_ms", options.leak_age_ms, "0 or more");
  return options;
}

// The fewest bytes whose fraction of the budget is `fraction` or more, whatever the product rounds to.
uint64_t threshold_bytes(double fraction, uint64_t budget) {
  const auto total = static_cast<double>(budget);
  auto bytes = static_cast<uint64_t>(std::ceil(fraction * total));
  while (bytes > 0 && static_cast<double>(bytes - 1) / total >= fraction) --bytes;
  while (static_cast<double>(bytes) / total < fraction) ++bytes;
  return bytes;
}

}  // namespace

MemoryTracker::MemoryTracker(const TrackerOptions& options, uint64_t budget_bytes)
    : options_(checked(options)), budget_bytes_(budget_bytes), clock_(CLOCK_MONOTONIC) {
#ifdef CLOCK_MONOTONIC_COARSE
  // Exact to a few milliseconds and several times cheaper: what the age of a leak needs.
  if (options_.level <= TrackingLevel::standard) clock_ = CLOCK_MONOTONIC_COARSE;
#endif
  if (budget_bytes_ != 0) {
    for (int i = 0; i < 4; ++i) {
      thresholds_[i] = threshold_bytes(options_.pressure_thresholds[i], budget_bytes_);
    }
    if (options_.on_pressure) set_band(PressureLevel::none);
  }
  if (options_.level >= TrackingLevel::detailed) labels_ = std::make_unique<LabelTotals>();
}

MemoryTracker::~MemoryTracker() = default;

void MemoryTracker::enroll(Entry& entry) noexcept {
  entry.previous = nullptr;
  entry.next = first_;
  if (first_ != nullptr) first_->previous = &entry;
  first_ = &entry;
  ++n_entries_;
}

void MemoryTracker::retire(Entry& entry) noexcept {
  if (entry.previous != nullptr) entry.previous->next = entry.next;
  if (entry.next != nullptr) entry.next->previous = entry.previous;
  if (first_ == &entry) first_ = entry.next;
  --n_entries_;
}

std::unique_ptr<std::vector<void*>> MemoryTracker::prepare(const char* label) {
  if (options_.level < TrackingLevel::detailed) return nullptr;
  {
    const std::lock_guard lock(mutex_);
    labels_->by_label.try_emplace(label);
  }
  if (options_.level < TrackingLevel::debug) return nullptr;
  void* frames[kMaxStackDepth];
  const int depth = std::max(0, ::backtrace(frames, kMaxStackDepth));
  return std::make_unique<std::vector<void*>>(frames, frames + depth);
}

void MemoryTracker::note_allocate(const Entry& entry) noexcept {
  const auto found = labels_->by_label.find(entry.label);
  if (found == labels_->by_label.end()) return;
  LabelTotals::Totals& totals = found->second;
  ++totals.n_allocated;
  totals.allocated_bytes += entry.bytes;
  totals.live_bytes += entry.bytes;
  totals.peak_bytes = std::max(totals.peak_bytes, totals.live_bytes);
}

void MemoryTracker::note_free(const Entry& entry) noexcept {
  const auto found = labels_->by_label.find(entry.label);
  if (found != labels_->by_label.end()) found->second.live_bytes -= entry.bytes;
}

PressureLevel MemoryTracker::level_of(uint64_t used_bytes) const noexcept {
  if (budget_bytes_ == 0) return PressureLevel::none;
  int level = 0;
  while (level < 4 && used_bytes >= thresholds_[level]) ++level;
  return static_cast<PressureLevel>(level);
}

void MemoryTracker::set_band(PressureLevel level) noexcept {
  const auto i = static_cast<int>(level);
  told_level_ = level;
  band_low_ = i == 0 ? 0 : thresholds_[i - 1];
  band_width_ = (i == 4 ? ~uint64_t{0} : thresholds_[i]) - band_low_;
}

std::optional<PressureEvent> MemoryTracker::take_event() noexcept {
  const PressureLevel level = level_of(used_bytes_);
  if (level == told_level_) return std::nullopt;
  const int64_t now = now_ns();
  const int64_t since = told_ns_ < 0 ? -1 : (now - told_ns_) / kNanosecondsPerMs;
  if (since >= 0 && since < options_.pressure_cooldown_ms) return std::nullopt;
  told_ns_ = now;
  set_band(level);
  const uint64_t available = budget_bytes_ - std::min(used_bytes_, budget_bytes_);
  const double fraction = static_cast<double>(used_bytes_) / static_cast<double>(budget_bytes_);
  return PressureEvent{level, fraction, used_bytes_, available, since};
}

void MemoryTracker::deliver(const PressureEvent& event) const noexcept {
  try {
    options_.on_pressure(event);
  } catch (...) {  // an observer must not turn a success into a failure, nor stop a release
  }
}

MemoryMetrics MemoryTracker::metrics() const {
  const std::lock_guard lock(mutex_);
  MemoryMetrics metrics = {};
  metrics.allocated_bytes_total = allocated_bytes_;
  metrics.freed_bytes_total = freed_bytes_;
  metrics.current_bytes = allocated_bytes_ - freed_bytes_;
  metrics.peak_bytes = peak_bytes_;
  metrics.allocation_count = n_allocated_;
  metrics.free_count = n_freed_;
  metrics.peak_allocation_count = peak_live_;
  std::copy(std::begin(histogram_), std::end(histogram_), metrics.size_histogram);
  return metrics;
}

PressureLevel MemoryTracker::pressure() const {
  const std::lock_guard lock(mutex_);
  return level_of(used_bytes_);
}

std::vector<AllocationRecord> MemoryTracker::records(int64_t min_age_ms) const {
  std::vector<AllocationRecord> list;
  if (options_.level < TrackingLevel::standard) return list;
  const std::lock_guard lock(mutex_);
  const int64_t now = now_ns();
  for (const Entry* entry = first_; entry != nullptr; entry = entry->next) {
    const int64_t age_ms = (now - entry->time_ns) / kNanosecondsPerMs;
    if (entry->id == 0 || age_ms < min_age_ms) continue;
    const char* label = entry->label != nullptr ? entry->label : "";
    list.push_back({entry->id, entry->bytes, label, entry->pool, age_ms,
                    entry->stack ? *entry->stack : std::vector<void*>()});
  }
  std::sort(list.begin(), list.end(),
            [](const AllocationRecord& a, const AllocationRecord& b) { return a.id < b.id; });
  return list;
}

std::vector<AllocationRecord> MemoryTracker::live_allocations() const { return records(0); }

std::vector<AllocationRecord> MemoryTracker::leak_report() const { return records(options_.leak_age_ms + 1); }

uint64_t MemoryTracker::metadata_bytes() const {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = n_entries_ * sizeof(Entry);
  if (labels_) bytes += labels_->by_label.size() * (sizeof(*labels_->by_label.begin()) + 2 * sizeof(void*));
  for (const Entry* entry = first_; entry != nullptr; entry = entry->next) {
    if (entry->stack) bytes += sizeof(*entry->stack) + entry->stack->capacity() * sizeof(void*);
  }
  return bytes;
}

namespace {

Json record_json(const AllocationRecord& record) {
  Json json = {{"id", record.id},
               {"bytes", record.bytes},
               {"label", record.label},
               {"pool", record.pool == 0 ? "model" : "working"},
               {"age_ms", record.age_ms}};
  if (!record.stack.empty()) {
    Json& stack = json["stack"] = Json::array();
    for (void* const frame : record.stack) stack.push_back(reinterpret_cast<uintptr_t>(frame));
  }
  return json;
}

Json records_json(const std::vector<AllocationRecord>& records) {
  Json list = Json::array();
  for (const AllocationRecord& record : records) list.push_back(record_json(record));
  return list;
}

}  // namespace

std::string MemoryTracker::to_json() const {
  const MemoryMetrics now = metrics();
  Json json = {{"schema", "nanochat.memory_tracker.1"},
               {"level", kLevelNames[static_cast<int>(options_.level)]},
               {"pressure", kPressureNames[static_cast<int>(pressure())]},
               {"budget_bytes", budget_bytes_},
               {"allocated_bytes_total", now.allocated_bytes_total},
               {"freed_bytes_total", now.freed_bytes_total},
               {"current_bytes", now.current_bytes},
               {"peak_bytes", now.peak_bytes},
               {"allocation_count", now.allocation_count},
               {"free_count", now.free_count},
               {"peak_allocation_count", now.peak_allocation_count},
               {"size_histogram", now.size_histogram}};
  if (options_.level >= TrackingLevel::standard) {
    json["live"] = records_json(live_allocations());
    json["leaks"] = records_json(leak_report());
  }
  if (labels_) {
    Json& by_label = json["labels"] = Json::object();
    const std::lock_guard lock(mutex_);
    for (const auto& [label, totals] : labels_->by_label) {
      by_label[std::string(label)] = {{"allocation_count", totals.n_allocated},
                                      {"allocated_bytes_total", totals.allocated_bytes},
                                      {"current_bytes", totals.live_bytes},
                                      {"peak_bytes", totals.peak_bytes}};
    }
  }
  return write_json(json);
}

}  // namespace nanochat
