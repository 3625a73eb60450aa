// How many threads this process has, by the system's count.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

namespace nanochat::testing {

inline size_t n_threads_now() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(tasks, std::filesystem::directory_iterator()));
}

// The system still counts a thread for a moment after it was joined: asks again, for two seconds at most,
// while there are more than `expected`.
inline size_t n_threads_left(size_t expected) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  size_t n = n_threads_now();
  while (n > expected && std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
    n = n_threads_now();
  }
  return n;
}

}  // namespace nanochat::testing
