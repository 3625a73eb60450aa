// How far a fleet has come, on stderr: a bar for each component on a terminal, else a line for each that is
// done.
#pragma once

#include <nanochat.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "progress.h"

namespace nanochat::cli {

class FleetProgress {
 public:
  explicit FleetProgress(Show show);
  ~FleetProgress() { finish(); }
  FleetProgress(const FleetProgress&) = delete;
  FleetProgress& operator=(const FleetProgress&) = delete;

  // Wipes the bars.
  void finish();

  // A nanochat_warm_progress_callback; user_data is a FleetProgress. Stops the call after Ctrl-C.
  static int32_t on_progress(const nanochat_warm_progress* at, void* user_data);

 private:
  using Clock = std::chrono::steady_clock;
  struct Row {
    std::string id;
    int32_t state = NANOCHAT_WARM_STATE_PENDING;
    uint64_t done = 0, total = 0;
    Clock::time_point began;
  };
  void update(const nanochat_warm_progress& at);
  Row& row_of(const std::string& id);
  void draw(const nanochat_warm_progress& at);

  bool shown_, terminal_;
  std::vector<Row> rows_;  // in the order in which they began
  size_t n_drawn_ = 0;     // lines on the terminal
  Clock::time_point next_;
};

const char* warm_state_name(int32_t state);

}  // namespace nanochat::cli
