#include "tokenizer/token_model.h"

#include "base/json_text.h"

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

std::string vocabulary_json(const TokenModel& model, const std::vector<SpecialToken>& also) {
  std::string out = "{";
  const auto add = [&](std::string_view text, TokenId id) {
    if (out.size() > 1) out += ',';
    append_json_string(out, text);
    out += ':';
    out += std::to_string(id);
  };
  for (TokenId id = 0; id < model.size(); ++id) {
    if (model.has(id)) add(model.token_text(id), id);
  }
  for (const SpecialToken& token : also) add(token.text, token.id);
  return out + "}";
}

}  // namespace nanochat
