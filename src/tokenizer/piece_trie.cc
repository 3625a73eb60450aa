#include "tokenizer/piece_trie.h"

#include <algorithm>

namespace nanochat {

namespace {

constexpr uint32_t kBlock = 256;
constexpr uint32_t kOpenBlocks = 16;  // free units of older blocks are given up: building stays linear

struct Range {
  size_t first, last;  // of the sorted keys
  size_t depth;        // bytes that they share
  uint32_t node;
};

}  // namespace

// Free units of the open blocks are a list, in a ring through unit 0, which is the root and never free.
class PieceTrie::Builder {
 public:
  Builder(const std::vector<Key>& keys, std::vector<Unit>& units) : keys_(keys), units_(units) {
    units_.clear();
    add_block();
    take(kRoot);
    if (keys_.empty()) return;
    pending_.push_back({0, keys_.size(), 0, kRoot});
    while (!pending_.empty()) {
      const Range range = pending_.back();
      pending_.pop_back();
      expand(range);
    }
  }

 private:
  struct Child {
    uint8_t byte;
    size_t first, last;
  };

  void add_block() {
    const auto begin = static_cast<uint32_t>(units_.size());
    units_.resize(units_.size() + kBlock);
    next_.resize(units_.size());
    previous_.resize(units_.size());
    is_free_.resize(units_.size(), false);
    for (uint32_t unit = begin; unit < begin + kBlock; ++unit) link(unit);
    const uint32_t n_blocks = begin / kBlock + 1;
    if (n_blocks <= kOpenBlocks) return;
    const uint32_t closed = (n_blocks - 1 - kOpenBlocks) * kBlock;
    for (uint32_t unit = closed; unit < closed + kBlock; ++unit) {
      if (is_free_[unit]) take(unit);
    }
  }
  void link(uint32_t unit) {
    is_free_[unit] = true;
    if (unit == kRoot) {
      next_[0] = previous_[0] = 0;
      return;
    }
    previous_[unit] = previous_[0];
    next_[unit] = 0;
    next_[previous_[0]] = unit;
    previous_[0] = unit;
  }
  void take(uint32_t unit) {
    is_free_[unit] = false;
    if (unit == kRoot) return;
    next_[previous_[unit]] = next_[unit];
    previous_[next_[unit]] = previous_[unit];
  }

  void expand(const Range& range) {
    size_t i = range.first;
    for (; i < range.last && keys_[i].first.size() == range.depth; ++i) {
      units_[range.node].value = keys_[i].second;
    }
    children_.clear();
    for (; i < range.last; ++i) {
      const auto byte = static_cast<uint8_t>(keys_[i].first[range.depth]);
      if (children_.empty() || children_.back().byte != byte) children_.push_back({byte, i, i});
      children_.back().last = i + 1;
    }
    if (children_.empty()) return;
    const uint32_t base = find_base();
    units_[range.node].base = base;
    for (const Child& child : children_) {
      const uint32_t unit = base ^ child.byte;
      take(unit);
      units_[unit].parent = range.node;
      pending_.push_back({child.first, child.last, range.depth + 1, unit});
    }
  }
  bool fits(uint32_t base) const {
    return std::all_of(children_.begin(), children_.end(),
                       [&](const Child& child) { return is_free_[base ^ child.byte]; });
  }
  uint32_t find_base() {
    for (uint32_t unit = next_[0]; unit != 0; unit = next_[unit]) {
      const uint32_t base = unit ^ children_[0].byte;
      if (fits(base)) return base;
    }
    const auto fresh = static_cast<uint32_t>(units_.size());
    add_block();
    return fresh;
  }

  const std::vector<Key>& keys_;
  std::vector<Unit>& units_;
  std::vector<uint32_t> next_, previous_;
  std::vector<bool> is_free_;
  std::vector<Range> pending_;
  std::vector<Child> children_;
};

PieceTrie::PieceTrie(std::vector<Key> keys) {
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) { return a.first < b.first; });
  Builder(keys, units_);
}

}  // namespace nanochat
