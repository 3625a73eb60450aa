#include "tokenizer/token_bytes.h"

#include <array>
#include <cstring>

namespace nanochat {

void TokenBytes::add(Kind kind, std::string_view bytes) {
  Entry entry{};
  entry.of = kind;
  if (bytes.size() <= Entry::kMaxShort) {
    entry.length = static_cast<uint8_t>(bytes.size());
    bytes.copy(entry.bytes, bytes.size());
  } else {
    const uint64_t offset = long_.size();
    const auto length = static_cast<uint32_t>(bytes.size());  // of a file's token: 2^28 at most
    entry.length = Entry::kIsLong;
    std::memcpy(entry.bytes, &offset, sizeof offset);
    std::memcpy(entry.bytes + sizeof offset, &length, sizeof length);
    long_ += bytes;
  }
  entries_.push_back(entry);
}

std::string_view TokenBytes::long_bytes(const Entry& entry) const {
  uint64_t offset;
  uint32_t length;
  std::memcpy(&offset, entry.bytes, sizeof offset);
  std::memcpy(&length, entry.bytes + sizeof offset, sizeof length);
  return std::string_view(long_).substr(offset, length);
}

size_t TokenBytes::append(std::span<const TokenId> ids, bool skip_specials, std::string& text) const {
  std::array<char, 4096> block;  // so that the string is not asked for each token
  size_t used = 0;
  const auto flush = [&] {
    text.append(block.data(), used);
    used = 0;
  };
  const Kind skipped = skip_specials ? Kind::special : Kind::none;
  size_t i = 0;
  for (; i < ids.size(); ++i) {
    const auto id = static_cast<uint32_t>(ids[i]);
    if (id >= entries_.size()) break;
    const Entry& entry = entries_[id];
    if (entry.of == Kind::none) break;
    if (entry.of == skipped) continue;
    if (used > block.size() - sizeof entry) flush();
    if (entry.length == Entry::kIsLong) {
      flush();
      text += long_bytes(entry);
      continue;
    }
    std::memcpy(block.data() + used, &entry, sizeof entry);  // what is too much is written over
    used += entry.length;
  }
  flush();
  return i;
}

}  // namespace nanochat
