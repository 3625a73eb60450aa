// A conversation as the ids that make a model answer it: with nanochat's chat tokens, or as plain text
// without them.
#pragma once

#include <nanochat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "token_list.h"

namespace nanochat::cli {

struct Message {
  std::string role;  // "user" or "assistant", in turn
  std::string content;
};

class ConversationPrompt {
 public:
  explicit ConversationPrompt(const nanochat_tokenizer* tokenizer);

  // Whether the tokenizer has the tokens that nanochat's chat models are trained with.
  bool has_chat_tokens() const { return chat_tokens_; }
  // A text that ends the answer besides the model's own end token; "" if there is none.
  const char* stop_text() const { return chat_tokens_ ? "" : "\nUser:"; }
  // The ids up to where the assistant speaks. The user spoke last.
  TokenList ids(const std::vector<Message>& messages) const;

 private:
  const nanochat_tokenizer* tokenizer_;
  bool chat_tokens_;
};

// {"messages":[{"role":..., "content":...}, ...]}
std::string conversation_json(const std::vector<Message>& messages);

}  // namespace nanochat::cli
