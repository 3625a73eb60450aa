// Pairs of tokens while BPE training merges them: how often each occurs, and where. Open addressing, 24 bytes
// an entry.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace nanochat {

class PairTable {
 public:
  static constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();  // no pair: ids are not negative

  struct Entry {
    uint64_t pair = kNone;
    uint64_t count = 0;
    uint32_t begin = 0;  // into the array of places
    uint32_t n = 0;      // places, outdated ones among them
  };

  size_t size() const { return size_; }
  bool full() const { return (size_ + 1) * 10 > entries_.size() * 7; }
  const std::vector<Entry>& entries() const { return entries_; }  // free ones have pair kNone

  Entry* find(uint64_t pair) {
    if (entries_.empty()) return nullptr;
    Entry* const entry = probe(pair);
    return entry->pair == pair ? entry : nullptr;
  }
  // Moves the entries when it grows.
  Entry* find_or_add(uint64_t pair) {
    Entry* entry = entries_.empty() ? nullptr : probe(pair);
    if (entry != nullptr && entry->pair == pair) return entry;
    if (full()) {
      grow();
      entry = probe(pair);
    }
    entry->pair = pair;
    ++size_;
    return entry;
  }
  // Forgets the pairs below `count` if that is more than half of all.
  void drop_below(uint64_t count) {
    size_t n_kept = 0;
    for (const Entry& entry : entries_) n_kept += entry.pair != kNone && entry.count >= count;
    if (n_kept * 2 < size_) rebuild(entries_.size(), count);
  }
  void clear() {
    std::vector<Entry>().swap(entries_);
    size_ = 0;
  }

  static uint64_t hash(uint64_t pair) {
    pair *= 0x9e3779b97f4a7c15u;
    return (pair ^ pair >> 32) * 0xd1b54a32d192ed03u;
  }

 private:
  static constexpr size_t kFirstEntries = 1024;

  Entry* probe(uint64_t pair) {
    const size_t mask = entries_.size() - 1;
    size_t at = hash(pair) >> shift_;
    while (entries_[at].pair != pair && entries_[at].pair != kNone) at = (at + 1) & mask;
    return &entries_[at];
  }
  void grow() { rebuild(std::max(kFirstEntries, entries_.size() * 2), 0); }
  void rebuild(size_t n_entries, uint64_t least_count) {
    std::vector<Entry> old(n_entries);
    old.swap(entries_);
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(n_entries));
    size_ = 0;
    for (const Entry& entry : old) {
      if (entry.pair == kNone || entry.count < least_count) continue;
      *probe(entry.pair) = entry;
      ++size_;
    }
  }

  std::vector<Entry> entries_;
  size_t size_ = 0;
  unsigned shift_ = 64;
};

}  // namespace nanochat
