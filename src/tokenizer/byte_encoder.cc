#include "tokenizer/byte_encoder.h"

#include <algorithm>
#include <bit>
#include <span>

#include "tokenizer/merge_loop.h"

namespace nanochat {

// The pairs of a piece are looked up by the bytes they cover.
struct ByteEncoder::RankedPairs {
  const ByteEncoder& encoder;
  std::string_view piece;
  const char* readable_end;

  TokenId symbol(size_t i) const { return encoder.byte_ids_[static_cast<uint8_t>(piece[i])]; }
  PairMerge of_symbols(size_t i) const {
    return encoder
        .byte_pairs_[static_cast<uint8_t>(piece[i]) * size_t{256} + static_cast<uint8_t>(piece[i + 1])];
  }
  PairMerge of_tokens(MergeToken left, MergeToken /*right*/, size_t end) const {
    if (end - left.first > encoder.vocabulary_.longest()) return kNoMerge;
    const TokenId id =
        encoder.vocabulary_.find_rare(piece.substr(left.first, end - left.first), readable_end);
    return {id, id};
  }
};

struct ByteEncoder::ListedPairs {
  const ByteEncoder& encoder;
  std::string_view piece;

  TokenId symbol(size_t i) const { return encoder.byte_ids_[static_cast<uint8_t>(piece[i])]; }
  PairMerge of_symbols(size_t i) const {
    return encoder
        .byte_pairs_[static_cast<uint8_t>(piece[i]) * size_t{256} + static_cast<uint8_t>(piece[i + 1])];
  }
  PairMerge of_tokens(MergeToken left, MergeToken right, size_t /*end*/) const {
    return encoder.merges_.find(left.id, right.id);
  }
};

// The pieces of this text that were merged, each in the one place its bytes lead to.
class ByteEncoder::PieceCache {
 public:
  static constexpr size_t kMaxIds = 10, kMaxBytes = 64;

  struct Entry {
    uint64_t key = 0;
    const char* bytes = nullptr;
    uint32_t n_bytes = 0, n_ids = 0;
    std::array<TokenId, kMaxIds> ids;  // not filled by those who only count
  };

  // Worth its memory only where words come back.
  explicit PieceCache(size_t text_bytes) {
    if (text_bytes < 2048) return;
    entries_.resize(std::min(kMaxEntries, std::bit_ceil(text_bytes / 64)));
  }

  // The place of a piece; nullptr: it has none.
  Entry* place(std::string_view piece, uint64_t key) {
    if (entries_.empty() || piece.size() > kMaxBytes) return nullptr;
    const uint64_t spread = (key + piece.size()) * 0x9e3779b97f4a7c15u;
    return &entries_[static_cast<size_t>(spread >> 32) & (entries_.size() - 1)];
  }
  static bool holds(const Entry& entry, std::string_view piece, uint64_t key) {
    return entry.key == key && std::string_view(entry.bytes, entry.n_bytes) == piece;
  }

 private:
  static constexpr size_t kMaxEntries = 4096;  // 256 KiB

  std::vector<Entry> entries_;
};

struct ByteEncoder::IdSink {
  std::vector<TokenId>& ids;
  std::vector<TokenSpan>* spans;
  size_t base = 0;  // where the piece begins

  size_t mark() const { return ids.size(); }
  void rewind(size_t mark) const {
    const size_t n_gone = ids.size() - mark;
    ids.resize(mark);
    if (spans) spans->resize(spans->size() - n_gone);
  }
  void add(MergeToken token, size_t end) const {
    ids.push_back(token.id);
    if (spans) spans->push_back({base + token.first, base + end});
  }
  void remember(size_t mark, PieceCache::Entry& entry) const {
    std::copy(ids.begin() + static_cast<ptrdiff_t>(mark), ids.end(), entry.ids.begin());
  }
  void repeat(const PieceCache::Entry& entry, const Vocabulary& vocabulary) const {
    ids.insert(ids.end(), entry.ids.begin(), entry.ids.begin() + entry.n_ids);
    if (!spans) return;
    size_t begin = base;
    for (size_t i = 0; i < entry.n_ids; ++i) {
      const size_t end = begin + vocabulary.text(entry.ids[i]).size();
      spans->push_back({begin, end});
      begin = end;
    }
  }
};

struct ByteEncoder::CountSink {
  size_t n = 0;
  size_t base = 0;

  size_t mark() const { return n; }
  void rewind(size_t mark) { n = mark; }
  void add(MergeToken /*token*/, size_t /*end*/) { ++n; }
  void remember(size_t /*mark*/, PieceCache::Entry& /*entry*/) const {}
  void repeat(const PieceCache::Entry& entry, const Vocabulary& /*vocabulary*/) { n += entry.n_ids; }
};

ByteEncoder::ByteEncoder(const Vocabulary& vocabulary, const BpeMerges& merges, MergeSource source,
                         WholePieces whole)
    : vocabulary_(vocabulary), merges_(merges), source_(source), whole_(whole) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto text = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary.find({&text, 1});
    has_all_bytes_ = has_all_bytes_ && byte_ids_[byte] >= 0;
  }
  if (!has_all_bytes_) return;
  byte_pairs_.resize(256 * 256);
  for (size_t i = 0; i < byte_pairs_.size(); ++i) {
    byte_pairs_[i] = merge_of_bytes(static_cast<uint8_t>(i / 256), static_cast<uint8_t>(i % 256));
  }
  if (whole == WholePieces::by_merges) {
    reached_ = std::vector<std::atomic<Reached>>(static_cast<size_t>(vocabulary.size()));
  }
}

PairMerge ByteEncoder::merge_of_bytes(uint8_t left, uint8_t right) const {
  if (source_ == MergeSource::list) return merges_.find(byte_ids_[left], byte_ids_[right]);
  const std::array<char, 2> both{static_cast<char>(left), static_cast<char>(right)};
  const TokenId id = vocabulary_.find({both.data(), both.size()});
  return {id, id};
}

template <class Sink>
void ByteEncoder::merge(std::string_view piece, const char* readable_end, Sink& sink) const {
  if (source_ == MergeSource::ranks) {
    merge_symbols(RankedPairs{*this, piece, readable_end}, piece.size(), sink);
  } else {
    merge_symbols(ListedPairs{*this, piece}, piece.size(), sink);
  }
}

bool ByteEncoder::is_reached(TokenId id) const {
  std::atomic<Reached>& known = reached_[static_cast<size_t>(id)];
  const Reached answer = known.load(std::memory_order_relaxed);
  if (answer != Reached::unknown) return answer == Reached::yes;
  CountSink count;
  const std::string_view text = vocabulary_.text(id);
  merge(text, text.data() + text.size(), count);
  known.store(count.n == 1 ? Reached::yes : Reached::no, std::memory_order_relaxed);
  return count.n == 1;
}

template <class Sink>
void ByteEncoder::merge_or_remember(std::string_view piece, uint64_t key, const char* readable_end,
                                    PieceCache& cache, Sink& sink) const {
  PieceCache::Entry* entry = cache.place(piece, key);
  if (entry && PieceCache::holds(*entry, piece, key)) return sink.repeat(*entry, vocabulary_);
  const size_t mark = sink.mark();
  merge(piece, readable_end, sink);
  const size_t n_ids = sink.mark() - mark;
  if (!entry || n_ids > PieceCache::kMaxIds) return;
  entry->key = key;
  entry->bytes = piece.data();
  entry->n_bytes = static_cast<uint32_t>(piece.size());
  entry->n_ids = static_cast<uint32_t>(n_ids);
  sink.remember(mark, *entry);
}

template <class Sink>
void ByteEncoder::encode(const SplitRules& rules, std::string_view text, Sink& sink) const {
  PieceCache cache(text.size());
  const char* readable_end = text.data() + text.size();
  // A batch, so that the vocabulary's answers to all of it are on their way before the first is waited for.
  std::array<size_t, 64> ends;
  std::array<uint64_t, 64> keys;
  for (size_t begin = 0; begin < text.size();) {
    const size_t n = find_piece_ends(rules, text, begin, ends);
    for (size_t i = 0, from = begin; i < n; from = ends[i++]) {
      const std::string_view piece = text.substr(from, ends[i] - from);
      keys[i] = Vocabulary::text_key(piece, readable_end);
      vocabulary_.prefetch(piece, keys[i]);
    }
    for (size_t i = 0; i < n; begin = ends[i++]) {
      const std::string_view piece = text.substr(begin, ends[i] - begin);
      sink.base = begin;
      if (const TokenId id = find_whole(piece, keys[i]); id >= 0) {
        sink.add({id, 0}, piece.size());
      } else {
        merge_or_remember(piece, keys[i], readable_end, cache, sink);
      }
    }
  }
}

void ByteEncoder::encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                               std::vector<TokenSpan>* spans) const {
  const char* readable_end = piece.data() + piece.size();
  IdSink sink{ids, spans, 0};
  const uint64_t key = Vocabulary::text_key(piece, readable_end);
  if (const TokenId id = find_whole(piece, key); id >= 0) return sink.add({id, 0}, piece.size());
  merge(piece, readable_end, sink);
}

void ByteEncoder::encode_text(const SplitRules& rules, std::string_view text, std::vector<TokenId>& ids,
                              std::vector<TokenSpan>* spans) const {
  IdSink sink{ids, spans, 0};
  encode(rules, text, sink);
}

size_t ByteEncoder::count(const SplitRules& rules, std::string_view text) const {
  CountSink sink;
  encode(rules, text, sink);
  return sink.n;
}

}  // namespace nanochat
