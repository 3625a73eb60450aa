#include "tokenizer/piece_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/hash.h"

namespace nanochat {

static_assert(std::endian::native == std::endian::little, "the text of an entry is its first bytes");

namespace {

constexpr size_t kFirstEntries = 1024;
constexpr size_t kChunkBytes = size_t{1} << 16;
constexpr unsigned kOffsetBits = 32, kTagShift = 56;

template <class T>
uint64_t load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The text as 16 bytes with zeros behind it, without reading beyond its end.
void load_key(std::string_view piece, uint64_t (&key)[2]) {
  const char* const text = piece.data();
  const size_t size = piece.size();
  key[0] = key[1] = 0;
  if (size > 8) {
    key[0] = load<uint64_t>(text);
    key[1] = load<uint64_t>(text + size - 8) >> (8 * (16 - size));
  } else if (size == 8) {
    key[0] = load<uint64_t>(text);
  } else if (size >= 4) {
    key[0] = load<uint32_t>(text) | load<uint32_t>(text + size - 4) << (8 * (size - 4));
  } else if (size > 0) {
    key[0] = load<uint8_t>(text) | load<uint8_t>(text + size / 2) << (8 * (size / 2)) |
             load<uint8_t>(text + size - 1) << (8 * (size - 1));
  }
  key[1] |= uint64_t{size} << kTagShift;
}

}  // namespace

PieceTable::PieceTable(uint64_t max_bytes) : max_bytes_(max_bytes) {}

size_t PieceTable::home(const uint64_t (&key)[2]) const {
  // The place in the arena is not part of what a long piece is: only its hash counts.
  const uint64_t second = key[1] >> kTagShift == kLong ? kLong : key[1];
  uint64_t mixed = key[0] * 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ mixed >> 32 ^ second) * 0xd1b54a32d192ed03u;
  return ((mixed ^ mixed >> 32) * 0x9e3779b97f4a7c15u) >> shift_;
}

std::string_view PieceTable::long_text(const Entry& entry) const {
  const uint64_t place = entry.key[1] & ((uint64_t{1} << kTagShift) - 1);
  const char* const record = chunks_[place >> kOffsetBits].get() + (place & 0xffff'ffffu);
  return {record + sizeof(uint64_t), load<uint64_t>(record)};
}

bool PieceTable::same(const Entry& entry, const uint64_t (&key)[2], std::string_view piece) const {
  if (entry.key[0] != key[0]) return false;
  if (piece.size() <= kInlineBytes) return entry.key[1] == key[1];
  return entry.key[1] >> kTagShift == kLong && long_text(entry) == piece;
}

PieceTable::Entry* PieceTable::find(const uint64_t (&key)[2], std::string_view piece) {
  const size_t mask = entries_.size() - 1;
  size_t at = home(key);
  while (entries_[at].count != 0 && !same(entries_[at], key, piece)) at = (at + 1) & mask;
  return &entries_[at];
}

bool PieceTable::add(std::string_view piece, uint64_t n) {
  if (n == 0) return true;
  uint64_t key[2];
  if (piece.size() <= kInlineBytes) {
    load_key(piece, key);
  } else {
    key[0] = hash64(std::as_bytes(std::span(piece.data(), piece.size())));
    key[1] = kLong << kTagShift;
  }
  Entry* entry = entries_.empty() ? nullptr : find(key, piece);
  if (entry != nullptr && entry->count != 0) {
    entry->count += n;
    return true;
  }
  if (max_bytes_ != kNoLimit && bytes_with(piece) > max_bytes_) return false;
  if (full()) {
    grow();
    entry = find(key, piece);
  }
  if (piece.size() > kInlineBytes) key[1] |= store(piece);
  *entry = {{key[0], key[1]}, n};
  ++size_;
  return true;
}

// What one more piece makes of bytes(), at the moment of growth: the old entries are there until they are
// moved.
uint64_t PieceTable::bytes_with(std::string_view piece) const {
  uint64_t total = bytes();
  if (full()) total += std::max(kFirstEntries, entries_.size() * 2) * sizeof(Entry);
  const size_t record = sizeof(uint64_t) + piece.size();
  if (piece.size() > kInlineBytes && record > chunk_size_ - chunk_used_) {
    total += std::max(kChunkBytes, record);
  }
  return total;
}

// Number of the chunk and offset of a record of length and text.
uint64_t PieceTable::store(std::string_view piece) {
  const size_t record = sizeof(uint64_t) + piece.size();
  if (record > chunk_size_ - chunk_used_) {
    const size_t size = std::max(kChunkBytes, record);
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    chunk_size_ = size;
    chunk_used_ = 0;
    arena_bytes_ += size;
  }
  const uint64_t place = uint64_t{chunks_.size() - 1} << kOffsetBits | chunk_used_;
  char* const to = chunks_.back().get() + chunk_used_;
  const uint64_t size = piece.size();
  std::memcpy(to, &size, sizeof size);
  std::memcpy(to + sizeof size, piece.data(), piece.size());
  chunk_used_ += record;
  return place;
}

void PieceTable::grow() {
  std::vector<Entry> old(std::max(kFirstEntries, entries_.size() * 2));
  old.swap(entries_);
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(entries_.size()));
  const size_t mask = entries_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.count == 0) continue;
    size_t at = home(entry.key);
    while (entries_[at].count != 0) at = (at + 1) & mask;
    entries_[at] = entry;
  }
}

void PieceTable::clear() { *this = PieceTable(max_bytes_); }

PieceTable::Piece PieceTable::entry(size_t index) const {
  const Entry& entry = entries_[index];
  if (entry.key[1] >> kTagShift == kLong) return {long_text(entry), entry.count};
  return {{reinterpret_cast<const char*>(entry.key), entry.key[1] >> kTagShift}, entry.count};
}

}  // namespace nanochat
