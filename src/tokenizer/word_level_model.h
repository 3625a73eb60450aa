// Every piece is a token of the vocabulary or unknown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/token_model.h"

namespace nanochat {

class WordLevelModel final : public TokenModel {
 public:
  WordLevelModel(Vocabulary vocabulary, TokenId unknown);  // an id of the vocabulary

  void encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                    std::vector<TokenSpan>* spans) const override;
  int32_t size() const override { return vocabulary_.size(); }
  bool has(TokenId id) const override { return vocabulary_.has(id); }
  std::string token_text(TokenId id) const override { return std::string(vocabulary_.text(id)); }
  TokenId find_text(std::string_view text) const override { return vocabulary_.find(text); }
  std::string to_json(const std::vector<SpecialToken>& also) const override;

 private:
  Vocabulary vocabulary_;
  TokenId unknown_;
};

}  // namespace nanochat
