// The different pieces of a corpus while BPE training merges them: which pair is the most frequent, and where
// it stands. All pieces lie in one array with one slot per byte. A token takes the slots of its bytes: the
// first holds its id, the last (if there are two or more) minus its length, so both neighbours are found in
// one step and a merge costs the same wherever it happens, in a piece of any length.
//
// Only pairs that occur at least `threshold_` times are kept with their count and places; a count never grows
// after its pair came into being, so the others cannot be the most frequent before those are used up. Then,
// or when places run out, everything is counted again and the threshold chosen anew, as low as memory allows.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cancel.h"
#include "base/thread_pool.h"
#include "tokenizer/pair_table.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

class BpeMergeState {
 public:
  static constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

  struct Size {
    uint64_t n_pieces = 0, n_bytes = 0;  // of the pieces of two bytes and more
  };
  // What the pieces alone take, whatever else is needed.
  static uint64_t piece_bytes(const Size& size, uint64_t max_tokens);

  // max_bytes: what all of this may take. Throws working_memory_exhausted naming what is needed and allowed.
  BpeMergeState(const Size& size, uint64_t max_tokens, uint64_t max_bytes);

  // All pieces before anything else, each with how often it stands in the corpus.
  void add_piece(std::string_view piece, uint64_t count);

  struct Best {
    TokenId left, right;
    uint64_t count;  // overlapping ones count, "aaa" holds (a, a) twice
  };
  // The most frequent pair, the smallest (left, right) among equals. False: no pairs are left.
  bool find_best(Best& best, const Watch& watch);

  // Replaces the pair that find_best() gave by `made`, the next unused id, from left to right in each piece.
  // If this is stopped by `watch`, the state is of no more use.
  void merge(const Best& best, TokenId made, const Watch& watch);

  uint64_t n_listings() const { return n_listings_; }  // how often everything was counted

 private:
  // What waits for its turn: the most frequent pair first, the smallest pair among equals.
  struct Waiting {
    uint64_t count;
    uint64_t pair;
    bool operator<(const Waiting& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };
  // The occurrences next to which one token stood in the merge under way.
  struct Side {
    uint64_t count = 0;
    uint32_t n = 0;
    uint32_t next_place = 0;
  };
  struct Budget {
    uint64_t max_pairs, max_places, max_counted;
  };

  static uint64_t pair_of(TokenId left, TokenId right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  // A pair's places are outdated where its left token is no longer there: a slot never gets back an id that
  // it has lost, and while the left token stands, so does its end.
  bool stands(uint32_t slot, const Best& pair) const {
    return slots_[slot] == pair.left &&
           slots_[slot + token_lengths_[static_cast<size_t>(pair.left)]] == pair.right;
  }
  size_t piece_of(uint32_t slot) const {
    size_t piece = first_piece_[slot / kSlotsPerBlock];
    while (begins_[piece + 1] <= slot) ++piece;
    return piece;
  }
  uint32_t token_before(uint32_t slot) const {
    const int32_t before = slots_[slot - 1];
    return before < 0 ? slot - static_cast<uint32_t>(-before) : slot - 1;
  }

  template <class Visit>
  void visit_pairs(const Watch& watch, Visit visit) const;
  void list_pairs(const Watch& watch);
  void count_share(unsigned bits, uint64_t value, std::vector<PairTable::Entry>& kept, const Watch& watch);
  void keep_most_frequent(std::vector<PairTable::Entry>& kept);
  void keep_listed(const std::vector<PairTable::Entry>& kept, const Watch& watch);
  void replace(uint32_t slot, const Best& pair, TokenId made);
  void add_new_pair(uint64_t pair, Side& side);
  void write_places(const uint32_t* merged, size_t n, const Best& pair, TokenId made);
  void remove_from(uint64_t pair, uint64_t count);

  static constexpr uint32_t kSlotsPerBlock = 32;
  // An entry of a table that has just doubled, the old half beside it; and the same of the queue, which holds
  // outdated ones as well.
  static constexpr uint64_t kBytesPerCounted = sizeof(PairTable::Entry) * 9 / 2;
  static constexpr uint64_t kBytesPerPair = kBytesPerCounted + 4 * sizeof(Waiting);

  Size size_;
  uint64_t max_bytes_, fixed_bytes_;
  Budget budget_;

  std::vector<int32_t> slots_;
  std::vector<uint32_t> begins_;       // slots of the pieces, and the end
  std::vector<uint64_t> counts_;       // of the pieces
  std::vector<uint32_t> first_piece_;  // for each block of slots, the piece its first slot belongs to
  std::vector<uint32_t> token_lengths_;

  PairTable table_;
  std::priority_queue<Waiting> queue_;
  uint64_t threshold_ = kNoLimit;  // nothing is listed yet
  bool must_list_ = true;
  uint64_t largest_count_ = 0;  // seen by the last listing
  uint64_t n_listings_ = 0;
  std::unique_ptr<uint32_t[]> places_;  // of all listed pairs, ascending for each
  uint64_t n_places_ = 0, max_places_ = 0;

  std::vector<Side> left_, right_;  // by token: what stood before and after the pair being merged
  std::vector<TokenId> left_tokens_, right_tokens_;  // those that did
};

}  // namespace nanochat
