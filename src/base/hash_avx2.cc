#include "base/hash_avx2.h"

#ifdef __AVX2__

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace nanochat {

void hash128_avx2(const void* bytes, size_t n_bytes, uint64_t* low, uint64_t* high) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(bytes, n_bytes);
  *low = hash.low64;
  *high = hash.high64;
}

}  // namespace nanochat

#endif
