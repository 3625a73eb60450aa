#include "fleet_progress.h"

#include <algorithm>
#include <cstdio>

#include "failure.h"
#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{100};
constexpr size_t kCells = 24;
constexpr size_t kMostRows = 16;

double share_of(uint64_t done, uint64_t total) {
  return total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

std::string bar(double share) {
  const auto filled = static_cast<size_t>(share * static_cast<double>(kCells));
  return "[" + std::string(filled, '#') + std::string(kCells - filled, '-') + "]";
}

std::string line_of(const std::string& name, uint64_t done, uint64_t total, const char* state) {
  const double share = share_of(done, total);
  char text[192];
  std::snprintf(text, sizeof text, "%-24.40s %s %3d%%  %8.1f/%.1f MB  %s\n", name.c_str(), bar(share).c_str(),
                static_cast<int>(share * 100.0), static_cast<double>(done) * 1e-6,
                static_cast<double>(total) * 1e-6, state);
  return text;
}

std::string up(size_t n_lines) { return n_lines == 0 ? "" : "\x1b[" + std::to_string(n_lines) + "A"; }

}  // namespace

const char* warm_state_name(int32_t state) {
  switch (state) {
    case NANOCHAT_WARM_STATE_PENDING:
      return "pending";
    case NANOCHAT_WARM_STATE_LOADING:
      return "loading";
    case NANOCHAT_WARM_STATE_VALIDATING:
      return "validating";
    case NANOCHAT_WARM_STATE_WARM:
      return "warm";
    default:
      return "failed";
  }
}

FleetProgress::FleetProgress(Show show)
    : shown_(show == Show::progress), terminal_(stderr_is_terminal()), next_(Clock::now()) {}

FleetProgress::Row& FleetProgress::row_of(const std::string& id) {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&](const Row& row) { return row.id == id; });
  if (found != rows_.end()) return *found;
  Row& row = rows_.emplace_back();
  row.id = id;
  row.began = Clock::now();
  return row;
}

void FleetProgress::draw(const nanochat_warm_progress& at) {
  std::string text = up(n_drawn_) + "\x1b[J";
  n_drawn_ = 1;
  for (const Row& row : rows_) {
    // More lines than a terminal has could not be drawn over.
    if (rows_.size() > kMostRows && row.state == NANOCHAT_WARM_STATE_WARM) continue;
    text += line_of(printable(row.id), row.done, row.total, warm_state_name(row.state));
    ++n_drawn_;
  }
  text += line_of("all", at.fleet_loaded, at.fleet_total, "");
  write_stderr(text);
}

void FleetProgress::update(const nanochat_warm_progress& at) {
  if (!shown_) return;
  Row& row = row_of(at.id);
  const bool has_changed = row.state != at.state;
  row.state = at.state;
  row.done = at.bytes_loaded;
  row.total = at.total_bytes;
  const Clock::time_point now = Clock::now();
  if (terminal_) {
    if (now < next_ && !has_changed) return;
    next_ = now + kInterval;
    return draw(at);
  }
  const bool is_over = at.state == NANOCHAT_WARM_STATE_WARM || at.state == NANOCHAT_WARM_STATE_FAILED;
  if (!has_changed || !is_over) return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - row.began).count();
  char text[192];
  std::snprintf(text, sizeof text, "%s: %s, %.1f MB, %lld ms\n", printable(row.id).c_str(),
                warm_state_name(at.state), static_cast<double>(at.total_bytes) * 1e-6,
                static_cast<long long>(ms));
  write_stderr(text);
}

void FleetProgress::finish() {
  if (n_drawn_ > 0) write_stderr(up(n_drawn_) + "\x1b[J");
  n_drawn_ = 0;
}

int32_t FleetProgress::on_progress(const nanochat_warm_progress* at, void* user_data) {
  static_cast<FleetProgress*>(user_data)->update(*at);
  return interrupt_signal();
}

}  // namespace nanochat::cli
