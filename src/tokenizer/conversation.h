// Conversations as nanochat renders them (reference: nanochat/tokenizer.py render_conversation).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

struct RenderedConversation {
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask;  // 1: a token the assistant is trained on
};

// {"messages": [{"role", "content"}, ...]}; content is a string or, for the assistant, a list of parts
// {"type": "text"|"python"|"python_output", "text"}. Throws invalid_argument naming the message's index.
RenderedConversation render_conversation(const Tokenizer& tokenizer, const Json& conversation,
                                         int64_t max_tokens = 2048);

// The last message must be the assistant's; it is dropped, the rest rendered (at most max_tokens) and
// <|assistant_start|> appended.
std::vector<TokenId> render_for_completion(const Tokenizer& tokenizer, const Json& conversation,
                                           int64_t max_tokens = 2048);

// For chat: messages end with the user's; renders all of them (at most max_tokens; 0: no limit) and appends
// <|assistant_start|>.
std::vector<TokenId> render_for_reply(const Tokenizer& tokenizer, const Json& conversation,
                                      int64_t max_tokens = 0);

}  // namespace nanochat
