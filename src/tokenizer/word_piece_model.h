// WordPiece: from the beginning of a word, the longest token that fits, again and again (BERT).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/piece_trie.h"
#include "tokenizer/token_model.h"

namespace nanochat {

struct WordPieceOptions {
  TokenId unknown = -1;         // has to be there: a word that cannot be cut up becomes this, whole
  std::string prefix = "##";    // of tokens that go on with a word
  size_t max_characters = 100;  // a longer word is unknown
};

class WordPieceModel final : public TokenModel {
 public:
  WordPieceModel(Vocabulary vocabulary, WordPieceOptions options);

  // Takes time in the bytes of the piece times those of the longest token.
  void encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                    std::vector<TokenSpan>* spans) const override;
  int32_t size() const override { return vocabulary_.size(); }
  bool has(TokenId id) const override { return vocabulary_.has(id); }
  std::string token_text(TokenId id) const override { return std::string(vocabulary_.text(id)); }
  TokenId find_text(std::string_view text) const override { return vocabulary_.find(text); }
  std::string to_json(const std::vector<SpecialToken>& also) const override;

 private:
  bool is_too_long(std::string_view piece) const;

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  PieceTrie first_, continuing_;  // by whole text; by the text after the prefix
};

}  // namespace nanochat
