// The unique pieces of a corpus while BPE training merges them: where each pair of neighbours stands, and how
// often. All pieces lie in one array with one slot per byte. A token takes the slots of its bytes: the first
// holds its id, the last (if there are two or more) minus its length, so both neighbours are found in one
// step and a merge costs the same wherever it happens, in a piece of any length.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

class BpeMergeState {
 public:
  // A pair as one number: ordered as (left id, right id).
  static uint64_t pair_of(TokenId left, TokenId right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  static std::pair<TokenId, TokenId> tokens_of(uint64_t pair) {
    return {static_cast<TokenId>(pair >> 32), static_cast<TokenId>(pair & 0xFFFF'FFFFu)};
  }

  BpeMergeState();

  // First all pieces, each with how often it stands in the corpus; then their pairs, once.
  void add_piece(std::string_view piece, uint64_t count);
  void count_pairs(ThreadPool& threads);

  // How often the pair stands in the corpus; overlapping ones count, "aaa" holds (a, a) twice.
  uint64_t count_of(uint64_t pair) const;

  // Replaces the pair by `made`, the next unused id, from left to right in each piece.
  void merge(uint64_t pair, TokenId made);

  // The pairs that came into being since the last call.
  template <class Visit>
  void take_new_pairs(Visit visit) {
    for (const uint32_t index : new_pairs_) {
      if (pairs_[index].count > 0) visit(pairs_[index].pair, pairs_[index].count);
    }
    new_pairs_.clear();
  }

 private:
  struct Pair {
    uint64_t pair = 0;
    uint64_t count = 0;
    std::vector<uint32_t> slots;  // where its left token starts, ascending; outdated ones among them
  };
  struct Piece {
    uint32_t begin, end;  // slots
    uint64_t count;
  };

  using PairIndex = std::unordered_map<uint64_t, uint32_t>;

  Pair& find_or_add(uint64_t pair);
  void add_pair(TokenId left, TokenId right, uint32_t slot, uint64_t count);
  void remove_pair(TokenId left, TokenId right, uint64_t count);

  std::vector<int32_t> slots_;
  std::vector<uint32_t> piece_of_slot_;
  std::vector<Piece> pieces_;
  std::vector<uint32_t> token_lengths_;
  std::vector<Pair> pairs_;
  PairIndex index_of_pair_;
  std::vector<uint32_t> new_pairs_;
};

}  // namespace nanochat
