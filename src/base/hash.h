// XXH3 (xxhash): checksums of weights and files. Not cryptographic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace nanochat {

struct Hash128 {
  uint64_t low = 0, high = 0;
  bool operator==(const Hash128&) const = default;
  std::string hex() const;  // 32 digits, the canonical (big-endian) form of xxhsum -H2
};

uint64_t hash64(std::span<const std::byte> bytes, uint64_t seed = 0);
Hash128 hash128(std::span<const std::byte> bytes);

// XXH3-128 of more than 240 bytes in its two steps, for hardware that does the first by itself: eight sums
// over the bytes, which begin as hash128_start() and are stirred with hash128_secret(), and what is made of
// them.
inline constexpr size_t kLeastHashSums = 241;
using HashSums = std::array<uint64_t, 8>;
HashSums hash128_start();
std::span<const std::byte, 192> hash128_secret();
Hash128 hash128_of_sums(const HashSums& sums, uint64_t n_bytes);

}  // namespace nanochat
