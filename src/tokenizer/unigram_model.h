// Unigram: of all ways to cut a piece into tokens, the one with the largest sum of scores (SentencePiece).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/piece_trie.h"
#include "tokenizer/token_model.h"

namespace nanochat {

constexpr double kUnknownPenalty = 10;  // an unknown character scores so much less than any token

struct UnigramPiece {
  std::string text;
  double score = 0;
  bool searchable = true;  // false: no text ever becomes this token
};

struct UnigramOptions {
  TokenId unknown = -1;  // several unknown characters in a row become one; -1: there must not be any
  bool byte_fallback = false;
  // As SentencePiece: sums in single precision, which decides between ways to cut that are as good as equal;
  // and unknown characters stay unknown. The Hugging Face library adds up doubles, and looks for a token that
  // is all of the unknown characters in a row.
  bool single_precision = false;
  double unknown_score = 0;  // of one character
};

class UnigramModel final : public TokenModel {
 public:
  // Ids are indices. Searchable texts are distinct.
  UnigramModel(std::vector<UnigramPiece> pieces, UnigramOptions options);

  // Takes time in the bytes of the piece times those of the longest token; memory in the bytes between two
  // places that no token goes across. Throws out_of_range for a character that is no token if there is no
  // unknown token either.
  void encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                    std::vector<TokenSpan>* spans) const override;
  int32_t size() const override { return vocabulary_.size(); }
  bool has(TokenId id) const override { return vocabulary_.has(id); }
  std::string token_text(TokenId id) const override { return std::string(vocabulary_.text(id)); }
  TokenId find_text(std::string_view text) const override { return vocabulary_.find(text); }
  std::string to_json(const std::vector<SpecialToken>& also) const override;

 private:
  class Search;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  UnigramOptions options_;
  PieceTrie trie_;
  std::array<TokenId, 256> byte_ids_{};  // -1: none
  bool has_all_bytes_ = true;
};

}  // namespace nanochat
