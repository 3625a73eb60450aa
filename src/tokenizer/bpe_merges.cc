#include "tokenizer/bpe_merges.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr BpeMerge kEmptySlot{-1, -1, 0, -1};

size_t pair_hash(TokenId left, TokenId right) {
  uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  key *= 0x9e3779b97f4a7c15u;
  return static_cast<size_t>(key ^ key >> 32);
}

// A doubly linked list in an array: a merge keeps the left node and unlinks the right one.
struct Node {
  TokenId id;  // -1: unlinked
  int32_t previous;
  int32_t next;  // -1: none
};

struct Candidate {
  uint32_t rank;
  int32_t position;  // of the left node
  TokenId left, right, result;

  // std::*_heap keep the largest in front; wanted is the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

}  // namespace

BpeMerges::BpeMerges(std::vector<BpeMerge> merges) {
  size_t slots = 2;
  while (slots < 2 * merges.size()) slots *= 2;
  slots_.assign(slots, kEmptySlot);
  for (const BpeMerge& merge : merges) {
    size_t slot = pair_hash(merge.left, merge.right) & (slots - 1);
    while (slots_[slot].result >= 0 &&
           (slots_[slot].left != merge.left || slots_[slot].right != merge.right)) {
      slot = (slot + 1) & (slots - 1);
    }
    slots_[slot] = merge;
  }
}

const BpeMerge* BpeMerges::find(TokenId left, TokenId right) const {
  if (slots_.empty()) return nullptr;
  const size_t mask = slots_.size() - 1;
  for (size_t slot = pair_hash(left, right) & mask; slots_[slot].result >= 0; slot = (slot + 1) & mask) {
    if (slots_[slot].left == left && slots_[slot].right == right) return &slots_[slot];
  }
  return nullptr;
}

void BpeMerges::apply(const std::vector<TokenId>& symbols, std::vector<TokenId>& ids,
                      std::vector<size_t>* firsts) const {
  if (symbols.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw Error(Status::out_of_range)
        .say("a piece of text of {} characters without a split, at most {} are possible", symbols.size(),
             std::numeric_limits<int32_t>::max());
  }
  const auto n = static_cast<int32_t>(symbols.size());
  std::vector<Node> nodes(symbols.size());
  std::vector<Candidate> heap;
  const auto candidate_at = [&](int32_t position, Candidate& candidate) {
    const Node& left = nodes[static_cast<size_t>(position)];
    if (left.next < 0) return false;
    const TokenId right = nodes[static_cast<size_t>(left.next)].id;
    const BpeMerge* merge = find(left.id, right);
    if (merge) candidate = {merge->rank, position, left.id, right, merge->result};
    return merge != nullptr;
  };
  const auto push = [&](int32_t position) {
    Candidate candidate;
    if (position < 0 || !candidate_at(position, candidate)) return;
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end());
  };

  for (int32_t i = 0; i < n; ++i) {
    nodes[static_cast<size_t>(i)] = {symbols[static_cast<size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1};
  }
  for (int32_t i = 0; i + 1 < n; ++i) {
    Candidate candidate;
    if (candidate_at(i, candidate)) heap.push_back(candidate);
  }
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Node& left = nodes[static_cast<size_t>(best.position)];
    if (left.id != best.left || left.next < 0) continue;  // merged away or grown since
    Node& right = nodes[static_cast<size_t>(left.next)];
    if (right.id != best.right) continue;
    left.id = best.result;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) nodes[static_cast<size_t>(left.next)].previous = best.position;
    push(left.previous);
    push(best.position);
  }
  for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = nodes[static_cast<size_t>(i)].next) {
    ids.push_back(nodes[static_cast<size_t>(i)].id);
    if (firsts) firsts->push_back(static_cast<size_t>(i));
  }
}

std::vector<BpeMerge> BpeMerges::list() const {
  std::vector<BpeMerge> merges;
  for (const BpeMerge& merge : slots_) {
    if (merge.result >= 0) merges.push_back(merge);
  }
  std::sort(merges.begin(), merges.end(), [](const BpeMerge& a, const BpeMerge& b) {
    return std::tie(a.rank, a.left, a.right) < std::tie(b.rank, b.left, b.right);
  });
  return merges;
}

}  // namespace nanochat
