#include "conversation_prompt.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "owned_handles.h"
#include "sampling.h"

namespace nanochat::cli {
namespace {

constexpr std::array kChatTokens = {"<|bos|>", "<|user_start|>", "<|user_end|>", "<|assistant_start|>",
                                    "<|assistant_end|>"};
constexpr size_t kNoTruncation = size_t{1} << 30;  // the caller drops whole messages instead

TokenList rendered(const nanochat_tokenizer* tokenizer, const std::vector<Message>& messages) {
  const std::string conversation = conversation_json(messages);
  // A conversation's text is longer than its ids, but for the special tokens around each message.
  TokenList ids(nanochat_tokenizer_encode_bound(tokenizer, conversation.size()) + 4 * messages.size());
  size_t n = 0;
  call(Exit::running, nanochat_tokenizer_render, tokenizer, conversation.data(), conversation.size(),
       NANOCHAT_RENDER_REPLY, kNoTruncation, ids.data(), nullptr, ids.size(), &n);
  ids.resize(n);
  return ids;
}

TokenList plain(const nanochat_tokenizer* tokenizer, const std::vector<Message>& messages) {
  std::string text;
  for (const Message& message : messages) {
    text += message.role == "user" ? "User: " : "Assistant: ";
    text += message.content + "\n";
  }
  return encode(tokenizer, text + "Assistant:", NANOCHAT_ENCODE_ADD_SPECIALS);
}

}  // namespace

ConversationPrompt::ConversationPrompt(const nanochat_tokenizer* tokenizer)
    : tokenizer_(tokenizer), chat_tokens_(std::ranges::all_of(kChatTokens, [tokenizer](const char* name) {
        return nanochat_tokenizer_special_id(tokenizer, name) >= 0;
      })) {}

TokenList ConversationPrompt::ids(const std::vector<Message>& messages) const {
  return chat_tokens_ ? rendered(tokenizer_, messages) : plain(tokenizer_, messages);
}

std::string conversation_json(const std::vector<Message>& messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Message& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  const nlohmann::ordered_json conversation = {{"messages", list}};
  return conversation.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace nanochat::cli
