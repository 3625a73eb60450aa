#include "tokenizer/bpe_merge_state.h"

#include <algorithm>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxSlots = std::numeric_limits<uint32_t>::max() - 1;
constexpr uint32_t kNoPlace = std::numeric_limits<uint32_t>::max();
constexpr size_t kPlacesPerCheck = 65536;
constexpr size_t kByteTokens = 256;

constexpr uint64_t kLeastBytes = uint64_t{1} << 16;

}  // namespace

uint64_t BpeMergeState::piece_bytes(const Size& size, uint64_t max_tokens) {
  const uint64_t per_token = 2 * (sizeof(Side) + sizeof(TokenId)) + sizeof(uint32_t);
  return size.n_bytes * sizeof(int32_t) + (size.n_bytes / kSlotsPerBlock + 1) * sizeof(uint32_t) +
         (size.n_pieces + 1) * (sizeof(uint32_t) + sizeof(uint64_t)) + max_tokens * per_token;
}

BpeMergeState::BpeMergeState(const Size& size, uint64_t max_tokens, uint64_t max_bytes)
    : size_(size), max_bytes_(max_bytes), fixed_bytes_(piece_bytes(size, max_tokens)) {
  if (size.n_bytes > kMaxSlots) {
    throw Error(Status::unsupported)
        .subject("corpus")
        .say("the different pieces of the corpus have {} bytes, expected at most {}", size.n_bytes,
             kMaxSlots);
  }
  budget_ = {kNoLimit, kNoLimit, kNoLimit};
  if (max_bytes != kNoLimit) {
    // With less room for pairs and places than this, everything would be counted anew every few merges.
    const uint64_t needed = fixed_bytes_ + std::max(kLeastBytes, size.n_bytes);
    if (needed > max_bytes) {
      throw Error(Status::working_memory_exhausted)
          .subject("memory_limit")
          .field("needed_bytes", needed)
          .field("allowed_bytes", max_bytes)
          .say("merging {} different pieces of {} bytes needs at least {} bytes of memory, {} are allowed",
               size.n_pieces, size.n_bytes, needed, max_bytes);
    }
    const uint64_t rest = max_bytes - fixed_bytes_;
    budget_ = {rest / 3 / kBytesPerPair, rest / 3 / sizeof(uint32_t), rest / 3 / kBytesPerCounted};
  }
  max_tokens = std::max<uint64_t>(max_tokens, kByteTokens);
  slots_.reserve(size.n_bytes);
  begins_.reserve(size.n_pieces + 1);
  begins_.push_back(0);
  counts_.reserve(size.n_pieces);
  first_piece_.reserve(size.n_bytes / kSlotsPerBlock + 1);
  token_lengths_.reserve(max_tokens);
  token_lengths_.assign(kByteTokens, 1);
  left_.resize(max_tokens);
  right_.resize(max_tokens);
  left_tokens_.reserve(max_tokens);
  right_tokens_.reserve(max_tokens);
}

void BpeMergeState::add_piece(std::string_view piece, uint64_t count) {
  if (piece.size() < 2) return;  // no pairs
  if (piece.size() > size_.n_bytes - slots_.size()) throw_internal("more pieces than were announced");
  const auto index = static_cast<uint32_t>(counts_.size());
  counts_.push_back(count);
  for (const char byte : piece) slots_.push_back(static_cast<unsigned char>(byte));
  begins_.push_back(static_cast<uint32_t>(slots_.size()));
  while (first_piece_.size() * kSlotsPerBlock < slots_.size()) first_piece_.push_back(index);
}

bool BpeMergeState::find_best(Best& best, const Watch& watch) {
  while (true) {
    if (must_list_ || (queue_.empty() && threshold_ > 1)) list_pairs(watch);
    if (queue_.empty()) return false;
    const Waiting top = queue_.top();
    const PairTable::Entry* const entry = table_.find(top.pair);
    const uint64_t count = entry == nullptr ? 0 : entry->count;
    if (count == top.count && count >= threshold_) {
      best = {static_cast<TokenId>(top.pair >> 32), static_cast<TokenId>(top.pair & 0xffff'ffffu), count};
      return true;
    }
    queue_.pop();
    // Counts of waiting pairs only fall, so this one waits again.
    if (count >= threshold_) queue_.push({count, top.pair});
  }
}

void BpeMergeState::merge(const Best& best, TokenId made, const Watch& watch) {
  PairTable::Entry* const entry = table_.find(pair_of(best.left, best.right));
  if (entry == nullptr || made != static_cast<TokenId>(token_lengths_.size())) {
    throw_internal("merge() of a pair that find_best() did not give");
  }
  token_lengths_.push_back(token_lengths_[static_cast<size_t>(best.left)] +
                           token_lengths_[static_cast<size_t>(best.right)]);
  if (token_lengths_.size() > left_.size()) {
    left_.resize(token_lengths_.size());
    right_.resize(token_lengths_.size());
  }
  // The places become those that were still true: they are read again below, and no slot will ever hold this
  // pair again.
  uint32_t* const places = places_.get() + entry->begin;
  const size_t n_places = entry->n;
  entry->count = 0;
  entry->n = 0;
  size_t n_merged = 0;
  for (size_t i = 0; i < n_places; ++i) {
    if (i % kPlacesPerCheck == kPlacesPerCheck - 1) watch.check();
    if (!stands(places[i], best)) continue;
    replace(places[i], best, made);
    places[n_merged++] = places[i];
  }
  for (const TokenId before : left_tokens_) {
    add_new_pair(pair_of(before, made), left_[static_cast<size_t>(before)]);
  }
  for (const TokenId after : right_tokens_) {
    add_new_pair(pair_of(made, after), right_[static_cast<size_t>(after)]);
  }
  if (!must_list_) write_places(places, n_merged, best, made);
  for (const TokenId before : left_tokens_) {
    remove_from(pair_of(before, best.left), left_[static_cast<size_t>(before)].count);
    left_[static_cast<size_t>(before)] = {};
  }
  for (const TokenId after : right_tokens_) {
    remove_from(pair_of(best.right, after), right_[static_cast<size_t>(after)].count);
    right_[static_cast<size_t>(after)] = {};
  }
  left_tokens_.clear();
  right_tokens_.clear();
}

void BpeMergeState::replace(uint32_t slot, const Best& pair, TokenId made) {
  const uint32_t left_length = token_lengths_[static_cast<size_t>(pair.left)];
  const uint32_t length = token_lengths_[static_cast<size_t>(made)];
  const size_t piece = piece_of(slot);
  const uint32_t end = slot + length;
  if (slot > begins_[piece]) {
    const TokenId before = slots_[token_before(slot)];
    Side& side = left_[static_cast<size_t>(before)];
    if (side.n++ == 0) left_tokens_.push_back(before);
    side.count += counts_[piece];
  }
  if (end < begins_[piece + 1]) {
    const TokenId after = slots_[end];
    Side& side = right_[static_cast<size_t>(after)];
    if (side.n++ == 0) right_tokens_.push_back(after);
    side.count += counts_[piece];
  }
  slots_[slot + left_length] = -1;  // no token starts here any more
  slots_[slot] = made;
  slots_[end - 1] = -static_cast<int32_t>(length);
}

// Each token that stood beside the pair stands beside `made` now, as often.
void BpeMergeState::add_new_pair(uint64_t pair, Side& side) {
  side.next_place = kNoPlace;
  if (side.count < threshold_ || must_list_) return;
  if (side.n > max_places_ - n_places_ || table_.size() >= budget_.max_pairs ||
      queue_.size() / 2 >= budget_.max_pairs) {
    must_list_ = true;
    return;
  }
  if (table_.full()) table_.drop_below(threshold_);
  *table_.find_or_add(pair) = {pair, side.count, static_cast<uint32_t>(n_places_), side.n};
  queue_.push({side.count, pair});
  side.next_place = static_cast<uint32_t>(n_places_);
  n_places_ += side.n;
}

// The second reading of the places that were merged finds the neighbours of the first one: to the left they
// are as they were then; to the right, `made` was still the pair's left token, since places ascend.
void BpeMergeState::write_places(const uint32_t* merged, size_t n, const Best& pair, TokenId made) {
  const uint32_t length = token_lengths_[static_cast<size_t>(made)];
  for (size_t i = 0; i < n; ++i) {
    const uint32_t slot = merged[i];
    const size_t piece = piece_of(slot);
    if (slot > begins_[piece]) {
      const uint32_t before = token_before(slot);
      Side& side = left_[static_cast<size_t>(slots_[before])];
      if (side.next_place != kNoPlace) places_[side.next_place++] = before;
    }
    if (slot + length < begins_[piece + 1]) {
      const TokenId after = slots_[slot + length] == made ? pair.left : slots_[slot + length];
      Side& side = right_[static_cast<size_t>(after)];
      if (side.next_place != kNoPlace) places_[side.next_place++] = slot;
    }
  }
}

void BpeMergeState::remove_from(uint64_t pair, uint64_t count) {
  PairTable::Entry* const entry = table_.find(pair);
  if (entry == nullptr) return;  // below the threshold when it came into being, or since
  entry->count -= std::min(entry->count, count);
}

}  // namespace nanochat
