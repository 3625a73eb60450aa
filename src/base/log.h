// Log lines go to the runtime's sink, one at a time; without a sink they cost one test.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>

#include "base/error.h"

namespace nanochat {

enum class LogLevel : int32_t { error = 1, warning = 2, info = 3, debug = 4 };

class Log {
 public:
  using Sink = std::function<void(LogLevel, std::string_view)>;
  Log() = default;
  Log(Sink sink, LogLevel level) : sink_(std::move(sink)), level_(level) {}

  bool enabled(LogLevel level) const { return sink_ && level <= level_; }
  template <class... A>
  void write(LogLevel level, std::string_view pattern, const A&... arguments) {
    if (enabled(level)) emit(level, format_text(pattern, arguments...));
  }

 private:
  void emit(LogLevel level, std::string_view line) {
    const std::lock_guard lock(emit_mutex_);
    sink_(level, line);
  }
  Sink sink_;
  LogLevel level_ = LogLevel::warning;
  std::mutex emit_mutex_;  // serialises calls of sink_
};

}  // namespace nanochat
