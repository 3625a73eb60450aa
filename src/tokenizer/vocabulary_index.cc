#include "tokenizer/vocabulary_index.h"

#include <algorithm>

#include "base/excerpt.h"

namespace nanochat {

namespace {

// Goes on over a second text, so that two need not be joined to be looked for.
uint64_t hash_of(std::string_view left, std::string_view right) {
  uint64_t hash = 0;
  for (const std::string_view text : {left, right}) {
    for (const char c : text) hash = hash * 0x9e3779b97f4a7c15u + static_cast<uint8_t>(c) + 1;
  }
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  return hash ^ hash >> 29;
}

}  // namespace

VocabularyIndex::VocabularyIndex(const std::vector<Token>& tokens, const JsonNode& place) : tokens_(tokens) {
  if (tokens.size() > static_cast<size_t>(kMaxTokenId) + 1) {
    place.invalid("vocab: {} tokens, at most {} are possible", tokens.size(), kMaxTokenId + 1);
  }
  size_t n_slots = 2;
  while (n_slots < 2 * tokens.size()) n_slots *= 2;
  slots_.resize(n_slots);
  std::vector<uint32_t> by_id;  // index + 1
  for (uint32_t i = 0; i < tokens.size(); ++i) {
    const auto& [text, id] = tokens[i];
    if (id < 0 || id > kMaxTokenId) {
      place.invalid("vocab: '{}' has the id {}, possible are 0 to {}", excerpt(text), id, kMaxTokenId);
    }
    const uint64_t hash = hash_of(text, {});
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t slot = hash & (n_slots - 1);
    for (; slots_[slot].index != 0; slot = (slot + 1) & (n_slots - 1)) {
      if (slots_[slot].tag == tag && is_at(slots_[slot].index, text, {})) {
        place.invalid("vocab: '{}' appears twice", excerpt(text));
      }
    }
    slots_[slot] = {tag, i + 1};
    const auto at = static_cast<size_t>(id);
    if (by_id.size() <= at) by_id.resize(std::max(at + 1, by_id.size() * 2));
    if (by_id[at] != 0) {
      place.invalid("vocab: id {} has two texts, '{}' and '{}'", id, excerpt(tokens[by_id[at] - 1].first),
                    excerpt(text));
    }
    by_id[at] = i + 1;
  }
}

bool VocabularyIndex::is_at(uint32_t index, std::string_view left, std::string_view right) const {
  const std::string_view text = tokens_[index - 1].first;
  return text.size() == left.size() + right.size() && text.starts_with(left) && text.ends_with(right);
}

TokenId VocabularyIndex::find(std::string_view left, std::string_view right) const {
  const uint64_t hash = hash_of(left, right);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash & mask; slots_[slot].index != 0; slot = (slot + 1) & mask) {
    if (slots_[slot].tag == tag && is_at(slots_[slot].index, left, right)) {
      return static_cast<TokenId>(tokens_[slots_[slot].index - 1].second);
    }
  }
  return -1;
}

}  // namespace nanochat
