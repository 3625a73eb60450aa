#include "tokenizer/token_model.h"

#include "base/json_text.h"

namespace nanochat {

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
