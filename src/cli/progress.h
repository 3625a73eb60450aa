// How far a long call has come, on stderr: a bar on a terminal, lines otherwise, nothing in the first second.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nanochat::cli {

enum class Show { progress, nothing };
enum class Unit { bytes, tokens, items };

class Progress {
 public:
  Progress(std::string title, Unit unit, Show show);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(uint64_t done, uint64_t total);
  // Wipes the bar.
  void finish();

  // A nanochat_progress_callback; user_data is a Progress. Stops the call after Ctrl-C.
  static int32_t on_progress(const char* stage, uint64_t done, uint64_t total, void* user_data);

 private:
  using Clock = std::chrono::steady_clock;
  std::string amount(uint64_t done, uint64_t total) const;

  std::string title_;
  Unit unit_;
  bool shown_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point next_;
};

}  // namespace nanochat::cli
