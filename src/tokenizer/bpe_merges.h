// The merge rule of byte-pair encoding: of all adjacent pairs that have a rank, the lowest rank first, the
// leftmost among equals, until none is left.
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

class BpeMerges {
 public:
  BpeMerges() = default;
  explicit BpeMerges(std::vector<BpeMerge> merges);  // of several with the same pair, the last counts

  // Merges `symbols` and appends what remains to `ids` and, if `firsts` is not null, for each id the index of
  // its first symbol. n log n in the number of symbols.
  void apply(const std::vector<TokenId>& symbols, std::vector<TokenId>& ids,
             std::vector<size_t>* firsts = nullptr) const;

  std::vector<BpeMerge> list() const;  // by rank, then left, then right

 private:
  const BpeMerge* find(TokenId left, TokenId right) const;

  std::vector<BpeMerge> slots_;  // open addressing, a power of two, at most half full; result -1: empty
};

}  // namespace nanochat
