#include "warm/registry.h"

#include <algorithm>
#include <thread>

namespace nanochat {

namespace {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void refuse_change(const ComponentSpec& spec, WarmState from, WarmState to, Status status) {
  const std::string reason =
      format_text("its state is {}, which {} cannot follow", state_name(from), state_name(to));
  const bool is_load = status == Status::model_load_failed;
  throw Error(status)
      .subject(spec.id)
      .field("model_id", spec.id)
      .field("reason", reason)
      .say(is_load ? "Model load failed for {}: {}" : "Model validation failed for {}: {}", spec.id, reason);
}

}  // namespace

struct Registry::Entry {
  explicit Entry(RegistryItem given) : item(std::move(given)) {}

  // A text that is written by one thread at a time and read by any, without waiting.
  class Note {
   public:
    void write(std::string_view text) {
      auto next = std::make_unique<const std::string>(text);
      while (text_.collect() > 0) std::this_thread::yield();  // whoever reads the last one but one copies it
      text_.publish(std::move(next));
    }
    std::string read() const {
      const Lease lease{text_, text_.acquire()};
      return lease.use.object == nullptr ? std::string() : *lease.use.object;
    }

   private:
    // Given back also when there is no memory for a copy: a writer waits for it.
    struct Lease {
      const Published<std::string>& text;
      const Published<std::string>::Use use;
      ~Lease() {
        if (use.object != nullptr) text.release(use.place);
      }
    };
    Published<std::string> text_;
  };

  const RegistryItem item;
  mutable std::mutex changing;  // held by who changes anything below
  std::atomic<WarmState> state{WarmState::pending};
  std::atomic<uint64_t> bytes_loaded{0};
  std::atomic<int64_t> began_ns{-1}, ended_ns{-1};
  std::atomic<Status> error{Status::ok};
  Note message;
  std::atomic<int64_t> last_latency_us{-1};
  std::atomic<bool> test_passed{false};
  Note test_message;
  Published<Component> object;
};

std::shared_ptr<Registry> Registry::create(std::vector<RegistryItem> items) {
  return std::shared_ptr<Registry>(new Registry(std::move(items)));
}

Registry::Registry(std::vector<RegistryItem> items) {
  for (RegistryItem& item : items) {
    for (const auto& entry : entries_) {
      if (entry->item.spec.id != item.spec.id) continue;
      throw Error(Status::model_already_registered)
          .subject(item.spec.id)
          .field("model_id", item.spec.id)
          .say("component '{}' is registered already", item.spec.id);
    }
    entries_.push_back(std::make_unique<Entry>(std::move(item)));
  }
}

Registry::~Registry() = default;

const ComponentSpec& Registry::spec(size_t index) const { return entries_[index]->item.spec; }
const ComponentPlan& Registry::plan(size_t index) const { return entries_[index]->item.plan; }

size_t Registry::find(std::string_view id) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i]->item.spec.id == id) return i;
  }
  throw Error(Status::model_not_registered)
      .subject(id)
      .field("model_id", id)
      .say("component '{}' is not one of the {} of this fleet", id, entries_.size());
}

std::vector<size_t> Registry::loading_order() const {
  std::vector<size_t> by_size(entries_.size());
  for (size_t i = 0; i < by_size.size(); ++i) by_size[i] = i;
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return plan(a).model_bytes > plan(b).model_bytes; });
  std::vector<size_t> order;
  std::vector<bool> is_taken(entries_.size(), false);
  const auto may_go = [&](size_t index) {
    return std::ranges::all_of(spec(index).depends_on,
                               [&](const std::string& id) { return is_taken[find(id)]; });
  };
  while (order.size() < entries_.size()) {
    const auto next = std::ranges::find_if(by_size, [&](size_t i) { return !is_taken[i] && may_go(i); });
    if (next == by_size.end()) throw_internal("a cycle of dependencies got past the manifest");
    is_taken[*next] = true;
    order.push_back(*next);
  }
  return order;
}

EntryStatus Registry::status(size_t index) const {
  const Entry& entry = *entries_[index];
  EntryStatus status;
  status.state = entry.state.load();
  status.bytes_loaded = entry.bytes_loaded.load();
  const uint64_t total = entry.item.plan.file_bytes;
  const bool is_read = status.state == WarmState::validating || status.state == WarmState::warm;
  status.progress_percent =
      is_read      ? 100
      : total == 0 ? 0
                   : static_cast<int32_t>(std::min<uint64_t>(status.bytes_loaded * 100 / total, 100));
  const int64_t began = entry.began_ns.load(), ended = entry.ended_ns.load();
  if (began >= 0) status.load_ms = ((ended >= 0 ? ended : now_ns()) - began) / 1'000'000;
  status.error = entry.error.load();
  status.message = entry.message.read();
  status.last_latency_us = entry.last_latency_us.load();
  status.test_passed = entry.test_passed.load();
  status.test_message = entry.test_message.read();
  return status;
}

WarmState Registry::state(size_t index) const { return entries_[index]->state.load(); }

size_t Registry::count(WarmState state) const {
  return static_cast<size_t>(
      std::ranges::count_if(entries_, [&](const auto& entry) { return entry->state.load() == state; }));
}

bool Registry::all_warm() const { return !entries_.empty() && count(WarmState::warm) == entries_.size(); }

std::shared_ptr<const Component> Registry::acquire(size_t index) const {
  const Published<Component>& object = entries_[index]->object;
  const auto use = object.acquire();
  if (use.object == nullptr) return nullptr;
  // The registry lives as long as anything of it is in use.
  return {use.object, [owner = shared_from_this(), &object, place = use.place](const Component*) {
            object.release(place);
          }};
}

Registry::Entry& Registry::change(size_t index, WarmState to, Status if_illegal) {
  Entry& entry = *entries_[index];
  const WarmState from = entry.state.load();
  if (!may_follow(from, to)) refuse_change(entry.item.spec, from, to, if_illegal);
  return entry;
}

void Registry::start_loading(size_t index) {
  const std::lock_guard lock(entries_[index]->changing);
  Entry& entry = change(index, WarmState::loading, Status::model_load_failed);
  entry.began_ns.store(now_ns());
  entry.state.store(WarmState::loading);
}

void Registry::update_progress(size_t index, uint64_t bytes_loaded) {
  const std::lock_guard lock(entries_[index]->changing);
  Entry& entry = *entries_[index];
  const WarmState state = entry.state.load();
  if (state != WarmState::loading)
    refuse_change(entry.item.spec, state, WarmState::loading, Status::model_load_failed);
  entry.bytes_loaded.store(bytes_loaded);
}

void Registry::mark_validating(size_t index) {
  const std::lock_guard lock(entries_[index]->changing);
  Entry& entry = change(index, WarmState::validating, Status::model_validation_failed);
  entry.bytes_loaded.store(entry.item.plan.file_bytes);
  entry.state.store(WarmState::validating);
}

void Registry::mark_warm(size_t index, std::unique_ptr<const Component> component) {
  const std::lock_guard lock(entries_[index]->changing);
  Entry& entry = change(index, WarmState::warm, Status::model_validation_failed);
  entry.object.collect();
  if (!entry.object.has_room()) {
    throw Error(Status::invalid_state)
        .subject(entry.item.spec.id)
        .field("model_id", entry.item.spec.id)
        .say("component '{}' cannot become warm while two of its former objects are held",
             entry.item.spec.id);
  }
  entry.object.publish(std::move(component));
  entry.ended_ns.store(now_ns());
  entry.state.store(WarmState::warm);
}

void Registry::mark_failed(size_t index, const Error& error) {
  const std::lock_guard lock(entries_[index]->changing);
  Entry& entry = change(index, WarmState::failed, Status::model_load_failed);
  entry.message.write(error.message());
  entry.error.store(error.status());
  entry.ended_ns.store(now_ns());
  entry.state.store(WarmState::failed);
}

void Registry::record_test(size_t index, int64_t latency_us, std::string_view message) {
  Entry& entry = *entries_[index];
  const std::lock_guard lock(entry.changing);
  entry.test_message.write(message);
  entry.last_latency_us.store(latency_us);
  entry.test_passed.store(message.empty());
}

// With `changing` held.
void Registry::require_replaceable(Entry& entry) {
  const std::string& id = entry.item.spec.id;
  if (const int64_t n_users = entry.object.collect(); n_users > 0) {
    throw Error(Status::invalid_state)
        .subject(id)
        .field("model_id", id)
        .field("users", n_users)
        .say("component '{}' was replaced before, and {} users still hold what it was then", id, n_users)
        .hint("free the handles of the replaced model first");
  }
  if (!entry.object.has_object()) {
    throw Error(Status::invalid_state)
        .subject(id)
        .say("component '{}' is {}, expected warm", id, state_name(entry.state.load()));
  }
}

void Registry::require_replaceable(size_t index) {
  Entry& entry = *entries_[index];
  const std::lock_guard lock(entry.changing);
  require_replaceable(entry);
}

void Registry::replace(size_t index, std::unique_ptr<const Component> component) {
  Entry& entry = *entries_[index];
  const std::lock_guard lock(entry.changing);
  require_replaceable(entry);
  entry.object.publish(std::move(component));
}

void Registry::withdraw(size_t index) {
  Entry& entry = *entries_[index];
  const std::lock_guard lock(entry.changing);
  entry.object.withdraw();
  if (entry.state.load() == WarmState::warm) entry.state.store(WarmState::pending);
  entry.bytes_loaded.store(0);
  entry.test_passed.store(false);
}

int64_t Registry::drain(size_t index, std::chrono::milliseconds timeout) {
  Entry& entry = *entries_[index];
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (true) {
    {
      const std::lock_guard lock(entry.changing);
      const int64_t n_users = entry.object.collect();
      if (n_users == 0 || std::chrono::steady_clock::now() >= end) return n_users;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace nanochat
