// The merge rule of byte-pair encoding: of all adjacent pairs that have a rank, the lowest rank first, the
// leftmost among equals, until none is left.
//
// What the pairs are is the caller's, as a template parameter (and nothing virtual in the loop):
//   TokenId symbol(i)                           the tokens to begin with
//   PairMerge of_symbols(i)                     of the symbols i and i + 1
//   PairMerge of_tokens(left, right, end)       of two neighbours, the right one ending before symbol `end`
//   array<PairMerge, 2> of_both(left, middle, right, end)   of three: the first two, and the last two
// and where the tokens go:
//   void add(MergeToken, size_t end)
//   Mark mark(); void rewind(Mark)              takes back all that was added since
//
// A long run of symbols is merged window by window, so that time grows with its length and memory does not.
// Why that is exact: merges inside a part of a text never depend on what is around it, until one of them
// crosses the part's border. So two neighbouring tokens of a text's encoding are, alone, encoded to
// themselves, and the encoding is the only sequence of which that holds for every two neighbours (the first
// merge across a border between two of them would happen in the two alone as well). Windows overlap by one
// token: if the second window, which begins with the first's last token kept, finds that token again, all
// neighbours have been seen together. If not, the first window's end was too near: it is made longer.
// How far an end reaches back is limited by the vocabulary: each step to the left needs a higher rank.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "tokenizer/bpe_merges.h"

namespace nanochat {

struct MergeToken {
  TokenId id;
  size_t first;  // its first symbol
};

// Up to kMaxSymbols symbols, on the stack. Each pair's rank and place are one number, so that the least
// number is the next merge.
template <class Pairs>
class FlatMerge {
 public:
  static constexpr size_t kMaxSymbols = 128;

  // Merges symbols [begin, begin + n), 1 <= n <= kMaxSymbols.
  FlatMerge(const Pairs& pairs, size_t begin, size_t n) : pairs_(pairs), begin_(begin), n_(n) {
    if (n > kMaxSymbols) __builtin_unreachable();  // else GCC 12 sees writes past the arrays
    for (size_t i = 0; i < n; ++i) {
      ids_[i] = pairs.symbol(begin + i);
      next_[i] = static_cast<uint8_t>(i + 1);
      previous_[i] = static_cast<uint8_t>(i - 1);
    }
    for (size_t i = 0; i + 1 < n; ++i) set(i, pairs.of_symbols(begin + i));
    n_blocks_ = (n + kBlock - 1) / kBlock;
    for (size_t i = n - 1; i < n_blocks_ * kBlock; ++i) keys_[i] = kNone;
    for (size_t i = 0; i < n_blocks_; ++i) refresh(i);
    for (int32_t key = least(); key != kNone; key = least()) {
      merge(static_cast<size_t>(key) % kMaxSymbols);
    }
  }

  // The tokens in order: for (i = 0; i < n; i = end(i)) token(i).
  size_t end(size_t i) const { return next_[i]; }
  MergeToken token(size_t i) const { return {ids_[i], begin_ + i}; }

 private:
  static constexpr size_t kBlock = 8;
  static constexpr int32_t kNone = std::numeric_limits<int32_t>::max();
  static_assert((int64_t{BpeMerges::kMaxRank} + 1) * int64_t{kMaxSymbols} <= kNone);

  void set(size_t i, PairMerge merge) {
    keys_[i] =
        merge.rank < 0 ? kNone : merge.rank * static_cast<int32_t>(kMaxSymbols) + static_cast<int32_t>(i);
    results_[i] = merge.result;
  }

  // The keys lie in blocks of which each one's least is kept, so that a merge reads one block or two. A tree,
  // not a loop, so that no vector is loaded over what was just stored as single numbers.
  void refresh(size_t block) {
    const int32_t* keys = &keys_[block * kBlock];
    const int32_t a = std::min(keys[0], keys[1]), b = std::min(keys[2], keys[3]);
    const int32_t c = std::min(keys[4], keys[5]), d = std::min(keys[6], keys[7]);
    least_[block] = std::min(std::min(a, b), std::min(c, d));
  }

  // Of few numbers, one by one for the same reason, which the compiler is not to undo.
  static void keep_scalar(int32_t& number) { asm("" : "+r"(number)); }
  int32_t least() const {
    int32_t least = least_[0];
    for (size_t i = 1; i < n_blocks_; ++i) {
      least = std::min(least, least_[i]);
      keep_scalar(least);
    }
    return least;
  }

  void look_up(size_t left) {
    const size_t right = next_[left];
    set(left, pairs_.of_tokens(token(left), token(right), begin_ + next_[right]));
  }

  void merge(size_t left) {
    const size_t right = next_[left], after = next_[right];
    ids_[left] = results_[left];
    next_[left] = static_cast<uint8_t>(after);
    keys_[right] = kNone;
    if (after < n_) previous_[after] = static_cast<uint8_t>(left);
    PairMerge with_next = kNoMerge;
    if (left > 0 && after < n_) {
      const size_t before = previous_[left];
      const auto both = pairs_.of_both(token(before), token(left), token(after), begin_ + next_[after]);
      set(before, both[0]);
      with_next = both[1];
    } else if (left > 0) {
      look_up(previous_[left]);
    } else if (after < n_) {
      with_next = pairs_.of_tokens(token(left), token(after), begin_ + next_[after]);
    }
    set(left, with_next);
    refresh(left / kBlock);
    if (right / kBlock != left / kBlock) refresh(right / kBlock);
    if (left > 0 && previous_[left] / kBlock != left / kBlock) refresh(previous_[left] / kBlock);
  }

  const Pairs& pairs_;
  size_t begin_, n_, n_blocks_;
  std::array<int32_t, kMaxSymbols> keys_;
  std::array<int32_t, kMaxSymbols / kBlock> least_;
  std::array<TokenId, kMaxSymbols> ids_, results_;
  std::array<uint8_t, kMaxSymbols> next_, previous_;
};

// Any number of symbols, with a heap: n log n.
template <class Pairs>
class HeapMerge {
 public:
  HeapMerge(const Pairs& pairs, size_t begin, size_t n) : pairs_(pairs), begin_(begin), n_(n), nodes_(n) {
    for (size_t i = 0; i < n; ++i) nodes_[i] = {pairs.symbol(begin + i), kNoMerge, i - 1, i + 1};
    for (size_t i = 0; i + 1 < n; ++i) {
      nodes_[i].merge = pairs.of_symbols(begin + i);
      if (nodes_[i].merge.rank >= 0) heap_.push_back({nodes_[i].merge.rank, i});
    }
    std::make_heap(heap_.begin(), heap_.end());
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Candidate best = heap_.back();
      heap_.pop_back();
      // A pair that has changed since has another rank, or is in the heap again with the same.
      if (nodes_[best.left].merge.rank == best.rank) merge(best.left);
    }
  }

  size_t end(size_t i) const { return nodes_[i].next; }
  MergeToken token(size_t i) const { return {nodes_[i].id, begin_ + i}; }

 private:
  struct Node {
    TokenId id;
    PairMerge merge;  // with the next one
    size_t previous, next;
  };
  struct Candidate {
    int32_t rank;
    size_t left;
    // std::*_heap keep the largest in front.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  void look_up(size_t left) {
    const size_t right = nodes_[left].next;
    nodes_[left].merge = kNoMerge;
    if (right == n_) return;
    nodes_[left].merge = pairs_.of_tokens(token(left), token(right), begin_ + nodes_[right].next);
    if (nodes_[left].merge.rank < 0) return;
    heap_.push_back({nodes_[left].merge.rank, left});
    std::push_heap(heap_.begin(), heap_.end());
  }

  void merge(size_t left) {
    const size_t right = nodes_[left].next, after = nodes_[right].next;
    nodes_[left].id = nodes_[left].merge.result;
    nodes_[left].next = after;
    nodes_[right].merge = kNoMerge;
    if (after < n_) nodes_[after].previous = left;
    look_up(left);
    if (left > 0) look_up(nodes_[left].previous);
  }

  const Pairs& pairs_;
  size_t begin_, n_;
  std::vector<Node> nodes_;
  std::vector<Candidate> heap_;
};

// Windows over a long run of symbols.
template <class Pairs, class Sink>
class WindowedMerge {
 public:
  WindowedMerge(const Pairs& pairs, size_t n, Sink& sink) : pairs_(pairs), n_(n), sink_(sink) {}

  void run() {
    const auto start = sink_.mark();
    while (true) {
      const size_t n = std::min(window_, n_ - begin_);
      const Outcome outcome = n <= FlatMerge<Pairs>::kMaxSymbols
                                  ? take(FlatMerge<Pairs>(pairs_, begin_, n), n)
                                  : take(HeapMerge<Pairs>(pairs_, begin_, n), n);
      if (outcome == Outcome::done) return;
      if (outcome == Outcome::taken) continue;
      window_ *= 2;
      if (outcome == Outcome::too_short) continue;
      sink_.rewind(start);
      begin_ = 0;
      expected_ = -1;
    }
  }

 private:
  enum class Outcome : uint8_t { taken, done, too_short, contradicts };

  // Keeps what begins in the first three quarters of the window.
  template <class Merged>
  Outcome take(const Merged& merged, size_t n) {
    if (expected_ >= 0 && (merged.token(0).id != expected_ || begin_ + merged.end(0) != expected_end_)) {
      return Outcome::contradicts;
    }
    const bool is_last = begin_ + n == n_;
    size_t last = 0;
    for (size_t i = 0; i < n; i = merged.end(i)) {
      if (is_last || i < n - n / 4) last = i;
    }
    if (!is_last && last == 0) return Outcome::too_short;
    for (size_t i = 0; i < last; i = merged.end(i)) sink_.add(merged.token(i), begin_ + merged.end(i));
    if (is_last) {
      sink_.add(merged.token(last), n_);
      return Outcome::done;
    }
    expected_ = merged.token(last).id;
    expected_end_ = begin_ + merged.end(last);
    begin_ += last;
    return Outcome::taken;
  }

  const Pairs& pairs_;
  const size_t n_;
  Sink& sink_;
  size_t window_ = FlatMerge<Pairs>::kMaxSymbols;
  size_t begin_ = 0;
  TokenId expected_ = -1;  // the first token of the next window
  size_t expected_end_ = 0;
};

template <class Pairs, class Sink>
void merge_symbols(const Pairs& pairs, size_t n, Sink& sink) {
  if (n == 0) return;
  if (n > FlatMerge<Pairs>::kMaxSymbols) return WindowedMerge<Pairs, Sink>(pairs, n, sink).run();
  const FlatMerge<Pairs> merged(pairs, 0, n);
  for (size_t i = 0; i < n; i = merged.end(i)) sink.add(merged.token(i), merged.end(i));
}

}  // namespace nanochat
