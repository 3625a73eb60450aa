// The bytes that each id stands for when it is not the first of a text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

class TokenBytes {
 public:
  enum class Kind : uint8_t { none, model, added, special };  // none: no token has this id

  void reserve(size_t n_ids) { entries_.reserve(n_ids); }
  void add(Kind kind, std::string_view bytes);  // of the next id

  int32_t size() const { return static_cast<int32_t>(entries_.size()); }
  Kind kind(TokenId id) const {  // none for ids out of range, too
    return id < 0 || id >= size() ? Kind::none : entries_[static_cast<size_t>(id)].of;
  }
  std::string_view bytes(TokenId id) const { return bytes_of(entries_[static_cast<size_t>(id)]); }

  // Appends the bytes of ids up to one that is no token, and says how many ids that were.
  size_t append(std::span<const TokenId> ids, bool skip_specials, std::string& text) const;

 private:
  // Short bytes lie in the entry itself: one cache line a token.
  struct Entry {
    static constexpr uint8_t kMaxShort = 14, kIsLong = 15;

    char bytes[14];
    uint8_t length;  // of `bytes`; kIsLong: they hold the place in long_, offset (8 bytes) and length (4)
    Kind of;
  };
  static_assert(sizeof(Entry) == 16);

  std::string_view bytes_of(const Entry& entry) const {
    return entry.length == Entry::kIsLong ? long_bytes(entry) : std::string_view(entry.bytes, entry.length);
  }
  std::string_view long_bytes(const Entry& entry) const;

  std::vector<Entry> entries_;
  std::string long_;
};

}  // namespace nanochat
