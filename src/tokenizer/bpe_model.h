// Byte-pair encoding, over bytes (GPT-2, tiktoken, nanochat) or over characters (SentencePiece-like files).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/bpe_merges.h"
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
  BpeModel(Vocabulary vocabulary, std::vector<BpeMerge> merges, BpeOptions options);

  void encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                    std::vector<TokenSpan>* spans) const override;
  int32_t size() const override { return vocabulary_.size(); }
  bool has(TokenId id) const override { return vocabulary_.has(id); }
  std::string token_text(TokenId id) const override;
  TokenId find_text(std::string_view text) const override;
  std::string to_json(const std::vector<SpecialToken>& also) const override;

 private:
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
  std::unordered_map<std::string, TokenId> literal_ids_;  // of texts that are not in the byte alphabet
  std::array<TokenId, 256> byte_ids_{};                   // of the single bytes, or of <0xNN>; -1: none
};

}  // namespace nanochat
