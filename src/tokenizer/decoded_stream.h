// Tokens in, their text out, as far as it is certain.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tokenizer/tokenizer.h"

namespace nanochat {

// The pieces, one after another, are the tokenizer's decode() of the tokens. A value: copy it to come back to
// a place.
class DecodedStream {
 public:
  enum class Specials : uint8_t { shown, skipped };
  enum class Form : uint8_t {
    exact,     // the bytes of each token at once, be they whole characters or not
    replaced,  // whole UTF-8 sequences; each invalid part is one U+FFFD
  };
  enum class Start : uint8_t { here, earlier };  // whether text came before the first token

  DecodedStream(std::shared_ptr<const Tokenizer> tokenizer, Specials specials, Form form,
                Start start = Start::here);

  // What became certain with these tokens. Throws out_of_range for an id without a token, and then has taken
  // none of them.
  std::string push(std::span<const TokenId> ids);
  std::string finish();  // what was held back, when no token comes any more

 private:
  struct State {
    std::string bytes;      // the beginning of a character
    std::string rest;       // of the newest token, if one comes after it
    std::string last_rest;  // the same if none does
    TokenId previous = -1;
    bool is_first = true;
  };
  void take(TokenId id, State& state) const;
  std::string release(State& state) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  Specials specials_;
  Form form_;
  State state_;
};

}  // namespace nanochat
