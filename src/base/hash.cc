#include "base/hash.h"

#include "base/hash_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace nanochat {

std::string Hash128::hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint64_t half : {high, low}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[half >> shift & 15];
  }
  return text;
}

uint64_t hash64(std::span<const std::byte> bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hash128 hash128(std::span<const std::byte> bytes) {
#ifdef __x86_64__
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx2) {
    Hash128 hash;
    hash128_avx2(bytes.data(), bytes.size(), &hash.low, &hash.high);
    return hash;
  }
#endif
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

HashSums hash128_start() { return XXH3_INIT_ACC; }

std::span<const std::byte, 192> hash128_secret() {
  static_assert(sizeof XXH3_kSecret == 192);
  return std::as_bytes(std::span<const unsigned char, 192>(XXH3_kSecret));
}

Hash128 hash128_of_sums(const HashSums& sums, uint64_t n_bytes) {
  const unsigned char* const secret = XXH3_kSecret;
  const unsigned char* const end = secret + sizeof XXH3_kSecret - sizeof sums;
  alignas(64) xxh_u64 aligned[8];
  for (size_t i = 0; i < sums.size(); ++i) aligned[i] = sums[i];
  return {XXH3_mergeAccs(aligned, secret + XXH_SECRET_MERGEACCS_START, n_bytes * XXH_PRIME64_1),
          XXH3_mergeAccs(aligned, end - XXH_SECRET_MERGEACCS_START, ~(n_bytes * XXH_PRIME64_2))};
}

}  // namespace nanochat
