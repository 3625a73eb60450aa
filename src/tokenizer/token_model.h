// The middle of a tokenizer: pieces of text to ids. Normalising, splitting and added tokens come before it,
// the post-processor and the decoder after it (pipeline_tokenizer.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/split_scanner.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `piece` and, if `spans` is not null, for each id the bytes of `piece` it stands for.
  virtual void encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                            std::vector<TokenSpan>* spans) const = 0;
  // The same for all pieces of a split rule, the spans being within `text`.
  virtual void encode_text(const SplitRules& rules, std::string_view text, std::vector<TokenId>& ids,
                           std::vector<TokenSpan>* spans) const;
  // How many ids that would be.
  virtual size_t count(const SplitRules& rules, std::string_view text) const;
  virtual int32_t size() const = 0;  // largest id + 1
  virtual bool has(TokenId id) const = 0;
  virtual std::string token_text(TokenId id) const = 0;  // as tokenizer.json writes it; has(id)
  // True: `bytes` is what byte-level decoding makes of token_text(id), and stays the model's.
  virtual bool raw_bytes(TokenId /*id*/, std::string_view& /*bytes*/) const { return false; }
  virtual TokenId find_text(std::string_view text) const = 0;  // the inverse; -1: none
  // The "model" object, its vocabulary having the tokens `also` as well.
  virtual std::string to_json(const std::vector<SpecialToken>& also) const = 0;
};

// The "vocab" object of a model: every token by its text, those of `also` last.
std::string vocabulary_json(const TokenModel& model, const std::vector<SpecialToken>& also);

}  // namespace nanochat
