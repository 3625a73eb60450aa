// How often each piece of a corpus occurs: one flat table, pieces of up to 15 bytes inside their entries, the
// others in an arena. 24 bytes an entry, between 34 and 69 with the free ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

namespace nanochat {

class PieceTable {
 public:
  static constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

  // max_bytes: what the table may take, bytes() as counted here.
  explicit PieceTable(uint64_t max_bytes = kNoLimit);

  // Adds n occurrences. False, and nothing happens, if a new piece would need more than max_bytes.
  bool add(std::string_view piece, uint64_t n);

  size_t size() const { return size_; }  // different pieces
  uint64_t bytes() const { return entries_.size() * sizeof(Entry) + arena_bytes_; }
  void set_max_bytes(uint64_t max_bytes) { max_bytes_ = max_bytes; }
  void clear();  // gives the memory back

  // The pieces by number, in an order of no meaning: entry(i) for i < n_entries(), count 0: a free one.
  struct Piece {
    std::string_view text;  // valid until the table changes
    uint64_t count;
  };
  size_t n_entries() const { return entries_.size(); }
  Piece entry(size_t index) const;

 private:
  // Up to 15 bytes: the text, then zeros, the last byte is the length. Longer: the hash; then the place in
  // the arena, the last byte kLong.
  struct Entry {
    uint64_t key[2];
    uint64_t count;  // 0: free
  };
  static constexpr uint64_t kLong = 0xff;
  static constexpr size_t kInlineBytes = 15;

  Entry* find(const uint64_t (&key)[2], std::string_view piece);
  bool same(const Entry& entry, const uint64_t (&key)[2], std::string_view piece) const;
  std::string_view long_text(const Entry& entry) const;
  uint64_t store(std::string_view piece);
  uint64_t bytes_with(std::string_view piece) const;
  size_t home(const uint64_t (&key)[2]) const;
  bool full() const { return (size_ + 1) * 10 > entries_.size() * 7; }
  void grow();

  uint64_t max_bytes_;
  std::vector<Entry> entries_;
  size_t size_ = 0;
  unsigned shift_ = 64;  // 64 - log2(entries)
  std::vector<std::unique_ptr<char[]>> chunks_;
  size_t chunk_used_ = 0, chunk_size_ = 0;
  uint64_t arena_bytes_ = 0;
};

}  // namespace nanochat
