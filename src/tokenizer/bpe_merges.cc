#include "tokenizer/bpe_merges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <tuple>

#include "base/error.h"
#include "tokenizer/merge_loop.h"

namespace nanochat {

namespace {

struct SymbolPairs {
  const BpeMerges& merges;
  const std::vector<TokenId>& symbols;

  TokenId symbol(size_t i) const { return symbols[i]; }
  PairMerge of_symbols(size_t left) const { return merges.find(symbols[left], symbols[left + 1]); }
  PairMerge of_tokens(MergeToken left, MergeToken right, size_t /*end*/) const {
    return merges.find(left.id, right.id);
  }
  std::array<PairMerge, 2> of_both(MergeToken left, MergeToken middle, MergeToken right,
                                   size_t /*end*/) const {
    return {merges.find(left.id, middle.id), merges.find(middle.id, right.id)};
  }
};

struct IdSink {
  std::vector<TokenId>& ids;
  std::vector<size_t>* firsts;

  struct Mark {
    size_t n_ids, n_firsts;
  };
  Mark mark() const { return {ids.size(), firsts ? firsts->size() : 0}; }
  void rewind(Mark mark) const {
    ids.resize(mark.n_ids);
    if (firsts) firsts->resize(mark.n_firsts);
  }
  void add(MergeToken token, size_t /*end*/) const {
    ids.push_back(token.id);
    if (firsts) firsts->push_back(token.first);
  }
};

}  // namespace

BpeMerges::BpeMerges(const std::vector<BpeMerge>& merges) {
  const size_t n_slots = std::bit_ceil(std::max<size_t>(2, 2 * merges.size()));
  slots_.resize(n_slots);
  mask_ = n_slots - 1;
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(n_slots));
  for (const BpeMerge& merge : merges) {
    if (merge.rank > kMaxRank) {
      throw Error(Status::format_unsupported)
          .say("a merge of rank {}, at most {} are possible", merge.rank, kMaxRank);
    }
    const uint64_t pair = pair_key(merge.left, merge.right);
    size_t slot = first_slot(pair);
    while (slots_[slot].merge.rank >= 0 && slots_[slot].pair != pair) slot = (slot + 1) & mask_;
    slots_[slot] = {pair, {static_cast<int32_t>(merge.rank), merge.result}};
  }
}

void BpeMerges::apply(const std::vector<TokenId>& symbols, std::vector<TokenId>& ids,
                      std::vector<size_t>* firsts) const {
  IdSink sink{ids, firsts};
  merge_symbols(SymbolPairs{*this, symbols}, symbols.size(), sink);
}

std::vector<BpeMerge> BpeMerges::list() const {
  std::vector<BpeMerge> merges;
  for (const Slot& slot : slots_) {
    if (slot.merge.rank < 0) continue;
    merges.push_back({static_cast<TokenId>(slot.pair >> 32), static_cast<TokenId>(slot.pair & 0xffffffffu),
                      static_cast<uint32_t>(slot.merge.rank), slot.merge.result});
  }
  std::sort(merges.begin(), merges.end(), [](const BpeMerge& a, const BpeMerge& b) {
    return std::tie(a.rank, a.left, a.right) < std::tie(b.rank, b.left, b.right);
  });
  return merges;
}

}  // namespace nanochat
