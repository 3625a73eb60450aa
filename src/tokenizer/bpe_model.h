// Byte-pair encoding, over bytes (GPT-2, tiktoken, nanochat) or over characters (SentencePiece-like files).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/bpe_merges.h"
#include "tokenizer/byte_encoder.h"
#include "tokenizer/token_model.h"

namespace nanochat {

struct BpeOptions {
  enum class Units : uint8_t { bytes, characters };

  Units units = Units::bytes;
  std::string prefix;  // continuing_subword_prefix: before every character but the first
  std::string suffix;  // end_of_word_suffix: after the last character
  TokenId unknown = -1;
  bool fuse_unknown = false;       // one unknown token for several characters in a row
  bool byte_fallback = false;      // a character that is no token becomes <0xNN> tokens
  bool whole_piece_first = false;  // ignore_merges; tiktoken's rule
};

class BpeModel final : public TokenModel {
 public:
  // With units == bytes the vocabulary's searchable texts are raw bytes, others are texts as in the file.
  BpeModel(Vocabulary vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options);
  // Over bytes, every byte being a token, and the merges implied by the ids as ranks.
  explicit BpeModel(Vocabulary vocabulary);

  void encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                    std::vector<TokenSpan>* spans) const override;
  void encode_text(const SplitRules& rules, std::string_view text, std::vector<TokenId>& ids,
                   std::vector<TokenSpan>* spans) const override;
  size_t count(const SplitRules& rules, std::string_view text) const override;
  int32_t size() const override { return vocabulary_.size(); }
  bool has(TokenId id) const override { return vocabulary_.has(id); }
  std::string token_text(TokenId id) const override;
  bool raw_bytes(TokenId id, std::string_view& bytes) const override;
  TokenId find_text(std::string_view text) const override;
  std::string to_json(const std::vector<SpecialToken>& also) const override;

 private:
  BpeModel(Vocabulary vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options,
           ByteEncoder::MergeSource source);
  // Whether pieces are bytes and nothing else, each of them a token.
  bool is_plain_bytes() const {
    return options_.units == BpeOptions::Units::bytes && options_.prefix.empty() && options_.suffix.empty() &&
           encoder_.has_all_bytes();
  }
  bool is_in_bytes(TokenId id) const;
  std::vector<BpeMerge> merges() const;
  std::vector<BpeMerge> implied_merges() const;

  struct Symbols {
    std::vector<TokenId> ids;
    std::vector<TokenSpan> spans;  // of each id
    void add(TokenId id, TokenSpan span) {
      ids.push_back(id);
      spans.push_back(span);
    }
  };
  void split_characters(std::string_view piece, Symbols& symbols) const;
  bool append_bytes(std::string_view text, size_t begin, Symbols& symbols) const;
  TokenId find_unit(std::string_view piece, size_t begin, size_t end) const;

  Vocabulary vocabulary_;
  BpeMerges merges_;
  BpeOptions options_;
  ByteEncoder::MergeSource source_;
  ByteEncoder encoder_;
  std::unordered_map<std::string, TokenId> literal_ids_;  // of texts that are not in the byte alphabet
  std::array<TokenId, 256> byte_ids_{};                   // of the single bytes, or of <0xNN>; -1: none
};

}  // namespace nanochat
