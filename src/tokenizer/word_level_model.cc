#include "tokenizer/word_level_model.h"

#include <utility>

#include "base/json.h"

namespace nanochat {

WordLevelModel::WordLevelModel(Vocabulary vocabulary, TokenId unknown)
    : vocabulary_(std::move(vocabulary)), unknown_(unknown) {}

void WordLevelModel::encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                                  std::vector<TokenSpan>* spans) const {
  if (piece.empty()) return;
  const TokenId id = vocabulary_.find(piece);
  ids.push_back(id >= 0 ? id : unknown_);
  if (spans) spans->push_back({0, piece.size()});
}

std::string WordLevelModel::to_json(const std::vector<SpecialToken>& also) const {
  Json head;
  head["type"] = "WordLevel";
  head["unk_token"] = token_text(unknown_);
  std::string out = write_json(head);
  out.pop_back();
  return out + ",\"vocab\":" + vocabulary_json(*this, also) + "}";
}

}  // namespace nanochat
