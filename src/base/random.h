// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A value depends on (seed, stream, position) alone, so it is the same in any order and any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace nanochat {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Blocks first_block to first_block + blocks.size() - 1 of a stream: block b is what CounterRandom reads at
// the positions 2 b and 2 b + 1. Many at once are several times cheaper than one by one.
void philox4x32_blocks(uint64_t seed, uint64_t stream, uint64_t first_block,
                       std::span<std::array<uint32_t, 4>> blocks);

class CounterRandom {
 public:
  CounterRandom(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  uint64_t bits(uint64_t position) const;
  double uniform(uint64_t position) const;  // [0, 1), 53 bits
  double normal(uint64_t position) const;   // mean 0, deviation 1 (Box-Muller)

 private:
  uint64_t seed_, stream_;
};

}  // namespace nanochat
