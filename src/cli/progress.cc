#include "progress.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr std::chrono::milliseconds kSilence{1000};
constexpr std::chrono::milliseconds kBarInterval{100};
constexpr std::chrono::milliseconds kLineInterval{5000};
constexpr uint64_t kBarCells = 30;
const char* const kWipeLine = "\r\x1b[K";

}  // namespace

Progress::Progress(std::string title, Unit unit, Show show)
    : title_(std::move(title)),
      unit_(unit),
      shown_(show == Show::progress),
      terminal_(stderr_is_terminal()),
      next_(Clock::now() + kSilence) {}

std::string Progress::amount(uint64_t done, uint64_t total) const {
  char text[96];
  if (unit_ == Unit::bytes) {
    std::snprintf(text, sizeof text, "%.2f/%.2f GB", static_cast<double>(done) * 1e-9,
                  static_cast<double>(total) * 1e-9);
  } else {
    std::snprintf(text, sizeof text, "%llu/%llu%s", static_cast<unsigned long long>(done),
                  static_cast<unsigned long long>(total), unit_ == Unit::tokens ? " tokens" : "");
  }
  return text;
}

void Progress::update(uint64_t done, uint64_t total) {
  if (!shown_) return;
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + (terminal_ ? kBarInterval : kLineInterval);
  const double share =
      total == 0 ? 0.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  std::string line = title_ + ": ";
  if (terminal_) {
    const auto filled = static_cast<size_t>(share * static_cast<double>(kBarCells));
    line = kWipeLine + line + "[" + std::string(filled, '#') + std::string(kBarCells - filled, '-') + "] ";
  }
  line += std::to_string(static_cast<int>(share * 100.0)) + "% (" + amount(done, total) + ")";
  if (!terminal_) line += "\n";
  write_stderr(line);
  drawn_ = true;
}

void Progress::finish() {
  if (drawn_ && terminal_) write_stderr(kWipeLine);
  drawn_ = false;
}

int32_t Progress::on_progress(const char* /*stage*/, uint64_t done, uint64_t total, void* user_data) {
  static_cast<Progress*>(user_data)->update(done, total);
  return interrupt_signal();
}

}  // namespace nanochat::cli
