// Token ids and their texts, both ways. Immutable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

constexpr TokenId kMaxTokenId = (1 << 22) - 1;  // several times the largest vocabulary known

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

  int32_t size() const { return static_cast<int32_t>(present_.size()); }  // largest id + 1
  int32_t count() const { return count_; }                                // ids may have gaps
  bool has(TokenId id) const { return id >= 0 && id < size() && present_[static_cast<size_t>(id)]; }
  std::string_view text(TokenId id) const {
    const auto i = static_cast<size_t>(id);
    return std::string_view(texts_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  TokenId find(std::string_view text) const { return find(text, hash(text)); }  // -1: none

  // A polynomial in kHashBase over the bytes: the hash of a part follows from those of two prefixes, so that
  // all cuts of a text are looked up without hashing each anew.
  static constexpr uint64_t kHashBase = 0x9e3779b97f4a7c15u;
  static uint64_t hash_step(uint64_t hash, char byte) {
    return hash * kHashBase + static_cast<uint8_t>(byte) + 1;
  }
  static uint64_t hash(std::string_view text) {
    uint64_t value = 0;
    for (const char c : text) value = hash_step(value, c);
    return value;
  }
  TokenId find(std::string_view text, uint64_t hash_of_text) const;

 private:
  std::string texts_;
  std::vector<uint64_t> offsets_;
  std::vector<bool> present_;
  std::vector<TokenId> slots_;  // open addressing, a power of two, at most half full; -1: empty
  int32_t count_ = 0;
};

}  // namespace nanochat
