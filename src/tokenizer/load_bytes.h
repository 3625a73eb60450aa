// Eight bytes of a text at once, whatever the byte order: the first byte is the lowest of the word.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nanochat {

inline uint64_t load_8_bytes(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

// n in 0..8 bytes, the others zero.
inline uint64_t load_up_to_8_bytes(const char* bytes, size_t n) {
  uint64_t word = 0;
  for (size_t i = 0; i < n; ++i) word |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << 8 * i;
  return word;
}

// The first n in 1..8 bytes of a word.
inline uint64_t first_bytes(uint64_t word, size_t n) { return word & ~uint64_t{0} >> (64 - 8 * n); }

}  // namespace nanochat
