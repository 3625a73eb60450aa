// Token ids and their texts, both ways. Immutable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/load_bytes.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

constexpr TokenId kMaxTokenId = (1 << 22) - 1;  // several times the largest vocabulary known

// Tokens before they are a vocabulary, in any order: their texts in one string, one after another.
class TokenList {
 public:
  void add(TokenId id, std::string_view text) {
    texts_ += text;
    ends_.push_back(texts_.size());
    ids_.push_back(id);
  }
  void reserve(size_t n_tokens, size_t n_bytes) {
    texts_.reserve(n_bytes);
    ends_.reserve(n_tokens + 1);
    ids_.reserve(n_tokens);
  }
  size_t size() const { return ids_.size(); }
  size_t text_bytes() const { return texts_.size(); }
  TokenId id(size_t i) const { return ids_[i]; }
  std::string_view text(size_t i) const {
    return std::string_view(texts_).substr(ends_[i], ends_[i + 1] - ends_[i]);
  }

 private:
  std::string texts_;
  std::vector<size_t> ends_ = std::vector<size_t>(1);
  std::vector<TokenId> ids_;
};

class Vocabulary {
 public:
  struct Entry {
    TokenId id;  // 0..kMaxTokenId, unique
    std::string text;
    bool searchable = true;  // false: find() never gives it
  };

  Vocabulary() = default;
  // Texts of searchable entries are distinct; the caller has checked that, with an error of its own.
  explicit Vocabulary(const std::vector<Entry>& entries);
  // All are searchable. Ids are 0..kMaxTokenId and unique; of equal texts, the lowest id is found.
  explicit Vocabulary(const TokenList& tokens);

  int32_t size() const { return static_cast<int32_t>(present_.size()); }  // largest id + 1
  int32_t count() const { return count_; }                                // ids may have gaps
  bool has(TokenId id) const { return id >= 0 && id < size() && present_[static_cast<size_t>(id)]; }
  std::string_view text(TokenId id) const {
    const auto i = static_cast<size_t>(id);
    return std::string_view(texts_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  size_t longest() const { return longest_; }                                 // bytes, of the searchable ones
  const std::vector<TokenId>& unsearchable() const { return unsearchable_; }  // ascending
  // An id whose text a lower id has too, so that find() does not give it; -1: none.
  TokenId repeated() const { return repeated_; }

  TokenId find(std::string_view text) const { return find(text, text.data() + text.size()); }  // -1: none
  // The same, faster: all bytes before `readable_end` may be read, which is at or behind the end of `text`.
  TokenId find(std::string_view text, const char* readable_end) const {
    return text.empty() ? -1 : find_by_key(text, text_key(text, readable_end));
  }
  // The same for texts that are mostly no token: a filter, small enough to stay in the cache, answers for
  // them.
  TokenId find_rare(std::string_view text, const char* readable_end) const {
    if (text.empty()) return -1;
    const uint64_t key = text_key(text, readable_end);
    const size_t bit = spread(key, text.size()) >> filter_shift_;
    return (filter_[bit / 64] >> bit % 64 & 1) != 0 ? find_by_key(text, key) : -1;
  }
  // In two steps, with time between them for the memory to answer. `text` is not empty.
  void prefetch(std::string_view text, uint64_t key) const {
    __builtin_prefetch(&slots_[first_slot(key, text.size())]);
  }
  TokenId find_by_key(std::string_view text, uint64_t key) const {
    for (size_t slot = first_slot(key, text.size());; slot = (slot + 1) & mask_) {
      const Slot& found = slots_[slot];
      if (found.key == key && is_text(found, text)) return static_cast<TokenId>(found.place & kMaxTokenId);
      if (found.place == kFree) return -1;
    }
  }

  // Words in which equal texts of equal length agree and others hardly ever do.
  static uint64_t text_key(std::string_view text, const char* readable_end) {
    if (text.size() > 8) return long_key(text);
    const bool may_load = readable_end - text.data() >= 8;
    return may_load ? first_bytes(load_8_bytes(text.data()), text.size())
                    : load_up_to_8_bytes(text.data(), text.size());
  }

 private:
  // A text of up to eight bytes is its own key.
  struct Slot {
    uint64_t key = 0;
    uint64_t place = 0;  // from the lowest bit: 22 of the id, 8 of the length, 34 of the offset in texts_
  };
  static constexpr uint64_t kFree = 0;        // of length 0, which no text in it has
  static constexpr size_t kLongLength = 255;  // this many bytes or more

  static uint64_t long_key(std::string_view text);
  static uint64_t spread(uint64_t key, size_t length) { return (key + length) * 0x9e3779b97f4a7c15u; }
  size_t first_slot(uint64_t key, size_t length) const {
    return static_cast<size_t>(spread(key, length) >> shift_);
  }
  bool is_text(const Slot& slot, std::string_view wanted) const {
    const size_t length = slot.place >> 22 & 255;
    return length == wanted.size() ? length <= 8 || is_long_text(slot, wanted)
                                   : length == kLongLength && is_long_text(slot, wanted);
  }
  bool is_long_text(const Slot& slot, std::string_view wanted) const;
  void reserve(size_t n_ids, size_t n_texts, size_t n_bytes);
  void append(TokenId id, std::string_view text);  // ids ascending
  void finish();
  void insert(TokenId id);

  std::string texts_;
  std::vector<uint64_t> offsets_;
  std::vector<bool> present_;
  std::vector<Slot> slots_ = std::vector<Slot>(2);  // open addressing, a power of two, at most half full
  std::vector<uint64_t> filter_ = std::vector<uint64_t>(1);  // a bit for each quarter of a slot
  std::vector<TokenId> unsearchable_;
  size_t mask_ = 1;
  unsigned shift_ = 63, filter_shift_ = 58;
  size_t longest_ = 0;
  int32_t count_ = 0;
  TokenId repeated_ = -1;
};

}  // namespace nanochat
