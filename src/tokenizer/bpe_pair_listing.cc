// Counting all pairs of a merge state anew, and choosing which ones are kept with their places.
#include <algorithm>

#include "base/error.h"
#include "tokenizer/bpe_merge_state.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxPlaces = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kLeastPlaces = 1024;
constexpr uint32_t kSlotsPerCheck = 1u << 20;

}  // namespace

// Calls visit(pair, slot of its left token, count of its piece) for each two neighbours, in ascending order.
template <class Visit>
void BpeMergeState::visit_pairs(const Watch& watch, Visit visit) const {
  uint32_t next_check = 0;
  for (size_t piece = 0; piece < counts_.size(); ++piece) {
    const uint32_t end = begins_[piece + 1];
    uint32_t slot = begins_[piece];
    if (slot >= next_check) {
      watch.check();
      next_check =
          slot > std::numeric_limits<uint32_t>::max() - kSlotsPerCheck ? slot : slot + kSlotsPerCheck;
    }
    TokenId left = slots_[slot];
    for (uint32_t next = slot + token_lengths_[static_cast<size_t>(left)]; next < end;) {
      const TokenId right = slots_[next];
      visit(pair_of(left, right), slot, counts_[piece]);
      slot = next;
      left = right;
      next += token_lengths_[static_cast<size_t>(left)];
    }
  }
}

// Those pairs whose hash ends in the `bits` bits of `value`; in two halves if they are too many at once.
void BpeMergeState::count_share(unsigned bits, uint64_t value, std::vector<PairTable::Entry>& kept,
                                const Watch& watch) {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  PairTable counted;
  bool too_many = false;
  visit_pairs(watch, [&](uint64_t pair, uint32_t, uint64_t count) {
    if (too_many || (PairTable::hash(pair) & mask) != value) return;
    PairTable::Entry* const entry = counted.find_or_add(pair);
    entry->count += count;
    ++entry->n;
    too_many = counted.size() > budget_.max_counted;
  });
  if (too_many) {
    counted.clear();
    count_share(bits + 1, value, kept, watch);
    count_share(bits + 1, value | uint64_t{1} << bits, kept, watch);
    return;
  }
  for (const PairTable::Entry& entry : counted.entries()) {
    if (entry.pair == PairTable::kNone) continue;
    largest_count_ = std::max(largest_count_, entry.count);
    if (entry.count < threshold_) continue;
    kept.push_back(entry);
    if (kept.size() > budget_.max_pairs) keep_most_frequent(kept);
  }
  keep_most_frequent(kept);
}

// Raises the threshold until what is left fits. Half of the room is kept for the pairs to come.
void BpeMergeState::keep_most_frequent(std::vector<PairTable::Entry>& kept) {
  const uint64_t max_pairs = budget_.max_pairs == kNoLimit ? kNoLimit : budget_.max_pairs / 2;
  const uint64_t max_places = budget_.max_places == kNoLimit ? kMaxPlaces : budget_.max_places / 2;
  uint64_t n_places = 0;
  for (const PairTable::Entry& entry : kept) n_places += entry.n;
  if (kept.size() <= max_pairs && n_places <= max_places) return;
  std::sort(kept.begin(), kept.end(),
            [](const PairTable::Entry& a, const PairTable::Entry& b) { return a.count > b.count; });
  n_places = 0;
  size_t n_kept = 0;
  for (size_t i = 0; i < kept.size() && i < max_pairs; ++i) {
    n_places += kept[i].n;
    if (n_places > max_places) break;
    // Equal counts stay or go together.
    if (i + 1 == kept.size() || kept[i + 1].count != kept[i].count) n_kept = i + 1;
  }
  if (n_kept == 0) {
    uint64_t n_equal = 0, n_equal_places = 0;
    for (const PairTable::Entry& entry : kept) {
      if (entry.count != kept[0].count) break;
      ++n_equal;
      n_equal_places += entry.n;
    }
    // Places and pairs have a third of the rest each, and half of that when they are listed.
    const uint64_t needed =
        fixed_bytes_ + 6 * std::max(n_equal_places * sizeof(uint32_t), n_equal * kBytesPerPair);
    throw Error(Status::working_memory_exhausted)
        .subject("memory_limit")
        .field("needed_bytes", needed)
        .field("allowed_bytes", max_bytes_)
        .say(
            "merging {} pairs that occur {} times each, in {} places, needs about {} bytes of memory, {} are "
            "allowed",
            n_equal, kept[0].count, n_equal_places, needed, max_bytes_);
  }
  threshold_ = n_kept < kept.size() ? kept[n_kept].count + 1 : threshold_;
  kept.resize(n_kept);
}

// How low the threshold is makes no difference to the result, but to the time: most pairs that come into
// being never have their turn. The count of the k-th merge is near the first one's divided by k, for texts;
// where it falls below, a few more listings follow.
void BpeMergeState::list_pairs(const Watch& watch) {
  constexpr uint64_t kStep = 4;
  if (n_listings_ == 0) {
    threshold_ = 1;
  } else if (!must_list_) {
    threshold_ = std::max<uint64_t>(threshold_ / kStep, 1);
  }
  ++n_listings_;
  table_.clear();
  queue_ = {};
  std::vector<PairTable::Entry> kept;
  largest_count_ = 0;
  count_share(0, 0, kept, watch);
  if (n_listings_ == 1) {
    threshold_ = std::max(threshold_, largest_count_ / (2 * left_.size()));
    std::erase_if(kept, [&](const PairTable::Entry& entry) { return entry.count < threshold_; });
  } else if (kept.empty() && threshold_ > 1) {
    threshold_ = std::max<uint64_t>(largest_count_ / kStep, 1);
    count_share(0, 0, kept, watch);
  }
  keep_listed(kept, watch);
  must_list_ = false;
}

void BpeMergeState::keep_listed(const std::vector<PairTable::Entry>& kept, const Watch& watch) {
  uint64_t n_places = 0;
  for (const PairTable::Entry& entry : kept) {
    *table_.find_or_add(entry.pair) = {entry.pair, entry.count, static_cast<uint32_t>(n_places), 0};
    queue_.push({entry.count, entry.pair});
    n_places += entry.n;
  }
  if (places_ == nullptr) {
    // Never do more pairs stand than bytes now, and half as many come and go before the next listing. Pages
    // that are never written cost nothing.
    max_places_ = std::min({kMaxPlaces, budget_.max_places, slots_.size() * 3 / 2 + kLeastPlaces});
    places_ = std::make_unique_for_overwrite<uint32_t[]>(max_places_);
  }
  n_places_ = n_places;
  visit_pairs(watch, [&](uint64_t pair, uint32_t slot, uint64_t) {
    PairTable::Entry* const entry = table_.find(pair);
    if (entry != nullptr) places_[entry->begin + entry->n++] = slot;
  });
}

}  // namespace nanochat
