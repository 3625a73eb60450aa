#include "tokenizer/vocabulary.h"

namespace nanochat {

namespace {

// Spreads the polynomial over the low bits that choose a slot.
size_t first_slot(uint64_t hash, size_t mask) {
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  return static_cast<size_t>(hash ^ hash >> 32) & mask;
}

}  // namespace

Vocabulary::Vocabulary(const std::vector<Entry>& entries) {
  std::vector<const Entry*> by_id;
  for (const Entry& entry : entries) {
    if (by_id.size() <= static_cast<size_t>(entry.id)) by_id.resize(static_cast<size_t>(entry.id) + 1);
    by_id[static_cast<size_t>(entry.id)] = &entry;
  }
  size_t slots = 2;
  while (slots < 2 * entries.size()) slots *= 2;
  slots_.assign(slots, -1);
  present_.resize(by_id.size());
  offsets_.assign(by_id.size() + 1, 0);
  for (size_t id = 0; id < by_id.size(); ++id) {
    if (by_id[id]) {
      present_[id] = true;
      ++count_;
      texts_ += by_id[id]->text;
    }
    offsets_[id + 1] = texts_.size();
  }
  for (size_t id = 0; id < by_id.size(); ++id) {
    if (!by_id[id] || !by_id[id]->searchable) continue;
    size_t slot = first_slot(hash(by_id[id]->text), slots - 1);
    while (slots_[slot] >= 0) slot = (slot + 1) & (slots - 1);
    slots_[slot] = static_cast<TokenId>(id);
  }
}

TokenId Vocabulary::find(std::string_view wanted, uint64_t hash_of_text) const {
  if (slots_.empty()) return -1;
  const size_t mask = slots_.size() - 1;
  for (size_t slot = first_slot(hash_of_text, mask); slots_[slot] >= 0; slot = (slot + 1) & mask) {
    if (text(slots_[slot]) == wanted) return slots_[slot];
  }
  return -1;
}

}  // namespace nanochat
