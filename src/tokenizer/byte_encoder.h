// Byte-level BPE at full speed: pieces of bytes to ids, over a vocabulary in which every byte is a token.
//
// Most pieces are tokens, found by one look-up. The others are merged (merge_loop.h), and the last of them
// remembered for the length of a call. Nothing here changes what the plain rule gives.
#pragma once

#include <array>
#include <atomic>
#include <string_view>
#include <vector>

#include "tokenizer/bpe_merges.h"
#include "tokenizer/split_scanner.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

class ByteEncoder {
 public:
  // Where merges come from: a list, or the ranks: any two tokens that make a token when put together may
  // merge, with that token's id as the rank, as tiktoken has it.
  enum class MergeSource : uint8_t { list, ranks };
  // What is done with a piece that is a token: it is one, or is so if the merges lead to it.
  enum class WholePieces : uint8_t { first, by_merges };

  // Both stay the caller's. A vocabulary that lacks a byte is of no use here: has_all_bytes().
  ByteEncoder(const Vocabulary& vocabulary, const BpeMerges& merges, MergeSource source, WholePieces whole);
  ByteEncoder(const ByteEncoder&) = delete;
  ByteEncoder& operator=(const ByteEncoder&) = delete;

  bool has_all_bytes() const { return has_all_bytes_; }
  // Appends; spans are those within the piece, which is not empty, or text.
  void encode_piece(std::string_view piece, std::vector<TokenId>& ids, std::vector<TokenSpan>* spans) const;
  void encode_text(const SplitRules& rules, std::string_view text, std::vector<TokenId>& ids,
                   std::vector<TokenSpan>* spans) const;
  size_t count(const SplitRules& rules, std::string_view text) const;

 private:
  struct RankedPairs;
  struct ListedPairs;
  class PieceCache;
  struct IdSink;
  struct CountSink;

  template <class Sink>
  void encode(const SplitRules& rules, std::string_view text, Sink& sink) const;
  template <class Sink>
  void merge(std::string_view piece, const char* readable_end, Sink& sink) const;
  template <class Sink>
  void merge_or_remember(std::string_view piece, uint64_t key, const char* readable_end, PieceCache& cache,
                         Sink& sink) const;
  TokenId find_whole(std::string_view piece, uint64_t key) const {
    const TokenId id = vocabulary_.find_by_key(piece, key);
    return id < 0 || whole_ == WholePieces::first || is_reached(id) ? id : -1;
  }
  bool is_reached(TokenId id) const;
  PairMerge merge_of_bytes(uint8_t left, uint8_t right) const;

  // Whether the merges of a token's own bytes lead to it: found out when it is asked for first. The answer is
  // always the same, so it does not matter which thread writes it.
  enum class Reached : uint8_t { unknown, yes, no };

  const Vocabulary& vocabulary_;
  const BpeMerges& merges_;
  MergeSource source_;
  WholePieces whole_;
  bool has_all_bytes_ = true;
  std::array<TokenId, 256> byte_ids_{};
  std::vector<PairMerge> byte_pairs_;  // [left][right]
  mutable std::vector<std::atomic<Reached>> reached_;
};

}  // namespace nanochat
