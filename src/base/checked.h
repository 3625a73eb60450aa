// Arithmetic on sizes that come from a file or a caller: false instead of a wrap-around.
#pragma once

#include <cstdint>
#include <span>

namespace nanochat {

[[nodiscard]] inline bool checked_multiply(uint64_t a, uint64_t b, uint64_t& product) {
  return !__builtin_mul_overflow(a, b, &product);
}

[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t& sum) {
  return !__builtin_add_overflow(a, b, &sum);
}

// Product of non-negative dimensions; false for a negative one or on overflow. The empty shape has 1 element.
[[nodiscard]] inline bool checked_element_count(std::span<const int64_t> shape, uint64_t& count) {
  count = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0 || !checked_multiply(count, static_cast<uint64_t>(dimension), count)) return false;
  }
  return true;
}

template <class T>
constexpr T round_up(T value, T multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace nanochat
