#include "tokenizer/token_model.h"

namespace nanochat {

void TokenModel::encode_text(const SplitRules& rules, std::string_view text, std::vector<TokenId>& ids,
                             std::vector<TokenSpan>* spans) const {
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = piece_end(rules, text, begin);
    const size_t first = spans ? spans->size() : 0;
    encode_piece(text.substr(begin, end - begin), ids, spans);
    for (size_t i = first; spans && i < spans->size(); ++i) {
      (*spans)[i].begin += begin;
      (*spans)[i].end += begin;
    }
  }
}

size_t TokenModel::count(const SplitRules& rules, std::string_view text) const {
  size_t n = 0;
  std::vector<TokenId> ids;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = piece_end(rules, text, begin);
    ids.clear();
    encode_piece(text.substr(begin, end - begin), ids, nullptr);
    n += ids.size();
  }
  return n;
}

}  // namespace nanochat
