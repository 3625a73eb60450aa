#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace nanochat {

namespace {

__extension__ using Wide = unsigned __int128;

uint64_t mix(uint64_t a, uint64_t b) {
  const Wide product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Positions in the source, in the order of the ids, which must be known to be unique.
template <class IdOf>
std::vector<size_t> order_by_id(size_t n, const IdOf& id_of) {
  TokenId largest = -1;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, id_of(i));
  std::vector<size_t> order(static_cast<size_t>(largest) + 1, n);
  for (size_t i = 0; i < n; ++i) order[static_cast<size_t>(id_of(i))] = i;
  return order;
}

}  // namespace

Vocabulary::Vocabulary(const std::vector<Entry>& entries) {
  const auto order = order_by_id(entries.size(), [&](size_t i) { return entries[i].id; });
  size_t n_bytes = 0;
  for (const Entry& entry : entries) n_bytes += entry.text.size();
  reserve(order.size(), entries.size(), n_bytes);
  for (size_t id = 0; id < order.size(); ++id) {
    if (order[id] < entries.size()) append(static_cast<TokenId>(id), entries[order[id]].text);
  }
  finish();
  for (size_t id = 0; id < order.size(); ++id) {
    if (order[id] == entries.size()) continue;
    if (entries[order[id]].searchable) {
      insert(static_cast<TokenId>(id));
    } else {
      unsearchable_.push_back(static_cast<TokenId>(id));
    }
  }
}

Vocabulary::Vocabulary(const TokenList& tokens) {
  const auto order = order_by_id(tokens.size(), [&](size_t i) { return tokens.id(i); });
  reserve(order.size(), tokens.size(), tokens.text_bytes());
  for (size_t id = 0; id < order.size(); ++id) {
    if (order[id] < tokens.size()) append(static_cast<TokenId>(id), tokens.text(order[id]));
  }
  finish();
  for (TokenId id = 0; id < size(); ++id) {
    if (has(id)) insert(id);
  }
}

void Vocabulary::reserve(size_t n_ids, size_t n_texts, size_t n_bytes) {
  if (n_bytes >> 34 != 0) {
    throw Error(Status::out_of_range)
        .say("a vocabulary of {} bytes, at most {} are possible", n_bytes, (uint64_t{1} << 34) - 1);
  }
  const size_t n_slots = std::bit_ceil(std::max<size_t>(16, 2 * n_texts));
  slots_.resize(n_slots);
  mask_ = n_slots - 1;
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(n_slots));
  filter_.resize(n_slots / 16);
  filter_shift_ = shift_ - 2;
  texts_.reserve(n_bytes);
  present_.resize(n_ids);
  offsets_.reserve(n_ids + 1);
}

void Vocabulary::append(TokenId id, std::string_view text) {
  offsets_.resize(static_cast<size_t>(id) + 1, texts_.size());
  present_[static_cast<size_t>(id)] = true;
  ++count_;
  texts_ += text;
}

void Vocabulary::finish() { offsets_.resize(present_.size() + 1, texts_.size()); }

void Vocabulary::insert(TokenId id) {
  const std::string_view wanted = text(id);
  if (wanted.empty()) return;
  longest_ = std::max(longest_, wanted.size());
  const uint64_t key = text_key(wanted, texts_.data() + texts_.size());
  size_t slot = first_slot(key, wanted.size());
  for (; slots_[slot].place != kFree; slot = (slot + 1) & mask_) {
    if (slots_[slot].key == key && is_text(slots_[slot], wanted)) {
      repeated_ = id;
      return;
    }
  }
  const size_t bit = spread(key, wanted.size()) >> filter_shift_;
  filter_[bit / 64] |= uint64_t{1} << bit % 64;
  slots_[slot] = {key, static_cast<uint64_t>(id) | std::min(wanted.size(), kLongLength) << 22 |
                           offsets_[static_cast<size_t>(id)] << 30};
}

bool Vocabulary::is_long_text(const Slot& slot, std::string_view wanted) const {
  if ((slot.place >> 22 & 255) == kLongLength)
    return text(static_cast<TokenId>(slot.place & kMaxTokenId)) == wanted;
  return std::memcmp(texts_.data() + (slot.place >> 30), wanted.data(), wanted.size()) == 0;
}

uint64_t Vocabulary::long_key(std::string_view text) {
  uint64_t key = text.size();
  const char* end = text.data() + text.size();
  for (const char* bytes = text.data(); end - bytes > 8; bytes += 8) key = mix(key, load_8_bytes(bytes));
  return mix(key, load_8_bytes(end - 8));
}

}  // namespace nanochat
