// The components of a fleet, their states and their objects. Reading never waits: states are atomics, and an
// object is acquired without a lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "warm/component.h"
#include "warm/published.h"
#include "warm/state.h"

namespace nanochat {

// What is known of a component before anything is loaded.
struct RegistryItem {
  ComponentSpec spec;
  ComponentPlan plan;
};

// One moment of one component.
struct EntryStatus {
  WarmState state = WarmState::pending;
  int32_t progress_percent = 0;  // 0..100
  uint64_t bytes_loaded = 0;
  int64_t load_ms = -1;  // from start_loading to warm or failed, or until now; -1: not begun
  Status error = Status::ok;
  std::string message;           // of a failed component
  int64_t last_latency_us = -1;  // of its last test inference; -1: none
  bool test_passed = false;      // the last one
  std::string test_message;      // why not
};

class Registry : public std::enable_shared_from_this<Registry> {
 public:
  // Throws model_already_registered. All are pending.
  static std::shared_ptr<Registry> create(std::vector<RegistryItem> items);

  size_t size() const { return entries_.size(); }
  const ComponentSpec& spec(size_t index) const;
  const ComponentPlan& plan(size_t index) const;
  size_t find(std::string_view id) const;  // throws model_not_registered

  // Largest first, ties in the manifest's order; a component never before one that it depends on.
  std::vector<size_t> loading_order() const;

  EntryStatus status(size_t index) const;
  WarmState state(size_t index) const;
  size_t count(WarmState state) const;
  bool all_warm() const;  // and there is one at least

  // The object of a warm component, held until the pointer is gone; nullptr if it is not warm.
  std::shared_ptr<const Component> acquire(size_t index) const;

  // Changes. An illegal one throws model_load_failed (start_loading, update_progress, mark_failed) or
  // model_validation_failed (mark_validating, mark_warm), naming both states. Thread-safe.
  void start_loading(size_t index);
  void update_progress(size_t index, uint64_t bytes_loaded);
  void mark_validating(size_t index);
  void mark_warm(size_t index, std::unique_ptr<const Component> component);
  void mark_failed(size_t index, const Error& error);

  // Of a warm component: what its last test inference said. `message`: why it failed, or "".
  void record_test(size_t index, int64_t latency_us, std::string_view message);

  // A new object for a warm component. Throws invalid_state while the object before the last one still has
  // users: require_replaceable() asks only. Returns with the old one perhaps still in use: see drain().
  void require_replaceable(size_t index);
  void replace(size_t index, std::unique_ptr<const Component> component);

  // Nobody acquires the object any more; it is destroyed when its users have left: see drain(). The state
  // becomes `pending` again when it was warm, and stays what it is when it failed.
  void withdraw(size_t index);

  // Waits until the objects that were replaced or withdrawn are destroyed. Returns the users that are left
  // when the time is over: 0 after success.
  int64_t drain(size_t index, std::chrono::milliseconds timeout);

 private:
  struct Entry;
  explicit Registry(std::vector<RegistryItem> items);
  Entry& change(size_t index, WarmState to, Status if_illegal);
  static void require_replaceable(Entry& entry);
  std::vector<std::unique_ptr<Entry>> entries_;

 public:
  ~Registry();
};

}  // namespace nanochat
