#include "tokenizer/bpe_merge_state.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace nanochat {

BpeMergeState::BpeMergeState() : token_lengths_(256, 1) {}

void BpeMergeState::add_piece(std::string_view piece, uint64_t count) {
  if (piece.size() < 2) return;  // no pairs
  constexpr uint64_t kMaxSlots = std::numeric_limits<uint32_t>::max();
  if (piece.size() > kMaxSlots - slots_.size()) {
    throw Error(Status::unsupported)
        .subject("corpus")
        .say("the different pieces of the corpus have more than {} bytes, expected at most that", kMaxSlots);
  }
  const auto begin = static_cast<uint32_t>(slots_.size());
  const auto index = static_cast<uint32_t>(pieces_.size());
  pieces_.push_back({begin, begin + static_cast<uint32_t>(piece.size()), count});
  for (const char byte : piece) slots_.push_back(static_cast<unsigned char>(byte));
  piece_of_slot_.insert(piece_of_slot_.end(), piece.size(), index);
}

// Each chunk of pieces is counted on its own; chunk after chunk is then added, so slots stay ascending.
void BpeMergeState::count_pairs(ThreadPool& threads) {
  constexpr size_t kPiecesPerChunk = 16384;
  using Counts = std::unordered_map<uint64_t, Pair>;
  std::vector<Counts> chunks((pieces_.size() + kPiecesPerChunk - 1) / kPiecesPerChunk);
  threads.parallel_for(static_cast<int64_t>(chunks.size()), 1, [&](int64_t first, int64_t last) {
    for (auto chunk = static_cast<size_t>(first); chunk < static_cast<size_t>(last); ++chunk) {
      const size_t end = std::min(pieces_.size(), (chunk + 1) * kPiecesPerChunk);
      for (size_t i = chunk * kPiecesPerChunk; i < end; ++i) {
        for (uint32_t slot = pieces_[i].begin; slot + 1 < pieces_[i].end; ++slot) {
          Pair& entry = chunks[chunk][pair_of(slots_[slot], slots_[slot + 1])];
          entry.count += pieces_[i].count;
          entry.slots.push_back(slot);
        }
      }
    }
  });
  for (Counts& counts : chunks) {
    for (const auto& [pair, counted] : counts) {
      Pair& entry = find_or_add(pair);
      entry.count += counted.count;
      entry.slots.insert(entry.slots.end(), counted.slots.begin(), counted.slots.end());
    }
    Counts().swap(counts);
  }
}

uint64_t BpeMergeState::count_of(uint64_t pair) const {
  const auto found = index_of_pair_.find(pair);
  return found == index_of_pair_.end() ? 0 : pairs_[found->second].count;
}

void BpeMergeState::merge(uint64_t pair, TokenId made) {
  const auto [left, right] = tokens_of(pair);
  const uint32_t left_length = token_lengths_[static_cast<size_t>(left)];
  const uint32_t length = left_length + token_lengths_[static_cast<size_t>(right)];
  token_lengths_.push_back(length);
  // Taken out, since pairs_ grows below, and given back: no slot will ever hold this pair again.
  const std::vector<uint32_t> slots = std::move(pairs_[index_of_pair_.at(pair)].slots);
  for (const uint32_t slot : slots) {
    const Piece& piece = pieces_[piece_of_slot_[slot]];
    const uint32_t end = slot + length;
    if (slots_[slot] != left || end > piece.end || slots_[slot + left_length] != right) continue;
    remove_pair(left, right, piece.count);
    if (slot > piece.begin) {
      const int32_t before = slots_[slot - 1];
      const uint32_t previous = before < 0 ? slot - static_cast<uint32_t>(-before) : slot - 1;
      remove_pair(slots_[previous], left, piece.count);
      add_pair(slots_[previous], made, previous, piece.count);
    }
    if (end < piece.end) {
      remove_pair(right, slots_[end], piece.count);
      add_pair(made, slots_[end], slot, piece.count);
    }
    slots_[slot + left_length] = -1;  // no token starts here any more
    slots_[slot] = made;
    slots_[end - 1] = -static_cast<int32_t>(length);
  }
}

BpeMergeState::Pair& BpeMergeState::find_or_add(uint64_t pair) {
  const auto [found, is_new] = index_of_pair_.try_emplace(pair, static_cast<uint32_t>(pairs_.size()));
  if (is_new) {
    new_pairs_.push_back(found->second);
    pairs_.push_back({pair, 0, {}});
  }
  return pairs_[found->second];
}

void BpeMergeState::add_pair(TokenId left, TokenId right, uint32_t slot, uint64_t count) {
  Pair& entry = find_or_add(pair_of(left, right));
  entry.count += count;
  entry.slots.push_back(slot);
}

void BpeMergeState::remove_pair(TokenId left, TokenId right, uint64_t count) {
  pairs_[index_of_pair_.at(pair_of(left, right))].count -= count;
}

}  // namespace nanochat
