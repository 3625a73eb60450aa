// The merges of byte-pair encoding: which two neighbours become one, and in which order.
#pragma once

#include <cstdint>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

struct BpeMerge {
  TokenId left;
  TokenId right;
  uint32_t rank;
  TokenId result;
};

// What a pair of neighbours becomes.
struct PairMerge {
  int32_t rank;  // -1: nothing, they stay two
  TokenId result;
};
constexpr PairMerge kNoMerge{-1, -1};

class BpeMerges {
 public:
  BpeMerges() = default;
  // Of several with the same pair, the last counts. Throws format_unsupported for a rank above kMaxRank.
  explicit BpeMerges(const std::vector<BpeMerge>& merges);

  static constexpr uint32_t kMaxRank = (1 << 24) - 2;

  PairMerge find(TokenId left, TokenId right) const {
    if (slots_.empty()) return kNoMerge;
    const uint64_t pair = pair_key(left, right);
    for (size_t slot = first_slot(pair);; slot = (slot + 1) & mask_) {
      if (slots_[slot].pair == pair) return slots_[slot].merge;
      if (slots_[slot].merge.rank < 0) return kNoMerge;
    }
  }

  // Merges `symbols`: of all adjacent pairs that have a rank, the lowest rank first, the leftmost among
  // equals, until none is left. Appends what remains to `ids` and, if `firsts` is not null, for each id the
  // index of its first symbol.
  void apply(const std::vector<TokenId>& symbols, std::vector<TokenId>& ids,
             std::vector<size_t>* firsts = nullptr) const;

  std::vector<BpeMerge> list() const;  // by rank, then left, then right

 private:
  struct Slot {
    uint64_t pair = 0;
    PairMerge merge = kNoMerge;
  };
  static uint64_t pair_key(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t first_slot(uint64_t pair) const {
    return static_cast<size_t>((pair ^ pair >> 29) * 0x9e3779b97f4a7c15u >> shift_);
  }

  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  size_t mask_ = 0;
  unsigned shift_ = 63;
};

}  // namespace nanochat
