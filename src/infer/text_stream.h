// Tokens in, text out: whole UTF-8 sequences only, cut at the first stop string.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/decoded_stream.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

enum class TextStart : int32_t { here = 0, earlier = 1 };  // whether text came before the first token

// The pieces, one after another, are the tokenizer's decode() of the tokens without the special ones, each
// invalid part as U+FFFD, up to the stop string. That is the one which is complete first in the text, the
// longest of several that end at the same byte; how the text is cut into tokens does not matter.
//
// A value: copy it, push into the copy and keep the copy to have all or nothing.
class TextStream {
 public:
  // stop_strings: not empty, valid UTF-8; else invalid_argument.
  TextStream(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stop_strings,
             TextStart start);

  // What became certain with this token; what may still begin a stop string or a character is held back.
  // A token that the tokenizer does not have (a padded model's) has no text.
  std::string push(TokenId token);

  // What was held back, when no token comes any more. It can complete a stop string that contains U+FFFD.
  std::string finish();

  bool stopped() const { return stopped_; }  // a stop string is complete: there is no more text

 private:
  std::string release(std::string_view new_text);

  DecodedStream tokens_;
  std::shared_ptr<const std::vector<std::string>> stop_strings_;
  std::string held_;  // whole sequences that may begin a stop string
  bool stopped_ = false;
};

}  // namespace nanochat
