#include "tokenizer/conversation.h"

#include "base/error.h"

namespace nanochat {
namespace {

struct Message {
  size_t index;  // in the conversation as given, for errors
  std::string role;
  Json content;
};

[[noreturn]] void refuse(size_t index, std::string_view role, std::string_view what) {
  throw Error(Status::invalid_argument)
      .subject("messages")
      .say("message {} (role '{}'): {}", index, role, what);
}

// The messages with their fields checked. A system message becomes the head of the user's first one.
std::vector<Message> read_messages(const Json& conversation) {
  const Json* found = conversation.find("messages");
  if (found == nullptr || !found->is_array()) {
    throw Error(Status::invalid_argument).subject("messages").say("the conversation has no list 'messages'");
  }
  std::vector<Message> messages;
  for (size_t i = 0; i < found->size(); ++i) {
    const Json& message = (*found)[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      throw Error(Status::invalid_argument).subject("messages").say("message {} has no text 'role'", i);
    }
    const auto role = message["role"].get<std::string>();
    if (!message.contains("content")) refuse(i, role, "it has no 'content'");
    messages.push_back({i, role, message["content"]});
  }
  if (messages.empty()) {
    throw Error(Status::invalid_argument)
        .subject("messages")
        .say("the conversation has 0 messages, expected 1 or more");
  }
  if (messages[0].role != "system") return messages;
  if (!messages[0].content.is_string()) refuse(0, "system", "its content is not a text");
  if (messages.size() < 2) refuse(0, "system", "no message follows, expected role 'user'");
  if (messages[1].role != "user")
    refuse(1, messages[1].role, "expected role 'user' behind the system message");
  if (!messages[1].content.is_string()) refuse(1, "user", "its content is not a text");
  messages[1].content =
      messages[0].content.get<std::string>() + "\n\n" + messages[1].content.get<std::string>();
  messages.erase(messages.begin());
  return messages;
}

// The special tokens of a conversation. The tool's four may be missing: then its texts stand without them.
struct ConversationTokens {
  explicit ConversationTokens(const Tokenizer& tokenizer)
      : bos(required(tokenizer, "<|bos|>")),
        user_start(required(tokenizer, "<|user_start|>")),
        user_end(required(tokenizer, "<|user_end|>")),
        assistant_start(required(tokenizer, "<|assistant_start|>")),
        assistant_end(required(tokenizer, "<|assistant_end|>")),
        python_start(tokenizer.special_id("<|python_start|>")),
        python_end(tokenizer.special_id("<|python_end|>")),
        output_start(tokenizer.special_id("<|output_start|>")),
        output_end(tokenizer.special_id("<|output_end|>")) {}

  static TokenId required(const Tokenizer& tokenizer, const char* text) {
    const TokenId id = tokenizer.special_id(text);
    if (id >= 0) return id;
    throw Error(Status::invalid_argument)
        .subject(text)
        .say("the tokenizer has no special token '{}', which a conversation needs", text);
  }

  TokenId bos, user_start, user_end, assistant_start, assistant_end;
  TokenId python_start, python_end, output_start, output_end;
};

class ConversationWriter {
 public:
  explicit ConversationWriter(const Tokenizer& tokenizer) : tokenizer_(tokenizer), tokens_(tokenizer) {
    add_token(tokens_.bos, 0);
  }

  void add_message(const Message& message, size_t turn) {
    const std::string_view expected = turn % 2 == 0 ? "user" : "assistant";
    if (message.role != expected) {
      refuse(message.index, message.role, format_text("expected role '{}' here", expected));
    }
    if (turn % 2 == 0) {
      if (!message.content.is_string()) refuse(message.index, message.role, "its content is not a text");
      add_enclosed(tokens_.user_start, message.content.get_ref<const std::string&>(), tokens_.user_end, 0);
    } else {
      add_assistant(message);
    }
  }

  void start_reply() { add_token(tokens_.assistant_start, 0); }

  void truncate(int64_t max_tokens) {
    if (max_tokens >= static_cast<int64_t>(rendered_.ids.size())) return;
    rendered_.ids.resize(static_cast<size_t>(max_tokens));
    rendered_.mask.resize(static_cast<size_t>(max_tokens));
  }

  RenderedConversation take() { return std::move(rendered_); }

 private:
  void add_token(TokenId id, uint8_t mask) {
    if (id < 0) return;  // a missing token of the tool
    rendered_.ids.push_back(id);
    rendered_.mask.push_back(mask);
  }

  // Special tokens written in the text stay text: nobody can end a turn by typing its mark.
  void add_text(std::string_view text, uint8_t mask) {
    tokenizer_.encode(text, {SpecialsInText::none, AddSpecials::no}, rendered_.ids);
    rendered_.mask.resize(rendered_.ids.size(), mask);
  }

  void add_enclosed(TokenId start, std::string_view text, TokenId end, uint8_t mask) {
    add_token(start, mask);
    add_text(text, mask);
    add_token(end, mask);
  }

  void add_assistant(const Message& message) {
    add_token(tokens_.assistant_start, 0);
    if (message.content.is_string()) {
      add_text(message.content.get_ref<const std::string&>(), 1);
    } else if (message.content.is_array()) {
      for (size_t i = 0; i < message.content.size(); ++i) add_part(message, i);
    } else {
      refuse(message.index, message.role, "its content is neither a text nor a list of parts");
    }
    add_token(tokens_.assistant_end, 1);
  }

  // Each part is encoded by itself: no token reaches across parts.
  void add_part(const Message& message, size_t index) {
    const Json& part = message.content[index];
    const auto is_text = [&](const char* field) { return part.contains(field) && part[field].is_string(); };
    if (!part.is_object() || !is_text("type") || !is_text("text")) {
      refuse(message.index, message.role, format_text("part {} has no text 'type' and 'text'", index));
    }
    const auto& type = part["type"].get_ref<const std::string&>();
    const auto& text = part["text"].get_ref<const std::string&>();
    if (type == "text") {
      add_text(text, 1);
    } else if (type == "python") {
      add_enclosed(tokens_.python_start, text, tokens_.python_end, 1);
    } else if (type == "python_output") {  // the tool writes this, not the model
      add_enclosed(tokens_.output_start, text, tokens_.output_end, 0);
    } else {
      refuse(message.index, message.role,
             format_text("part {} has type '{}', expected 'text', 'python' or 'python_output'", index, type));
    }
  }

  const Tokenizer& tokenizer_;
  const ConversationTokens tokens_;
  RenderedConversation rendered_;
};

ConversationWriter write_messages(const Tokenizer& tokenizer, const std::vector<Message>& messages) {
  ConversationWriter writer(tokenizer);
  for (size_t turn = 0; turn < messages.size(); ++turn) writer.add_message(messages[turn], turn);
  return writer;
}

}  // namespace

RenderedConversation render_conversation(const Tokenizer& tokenizer, const Json& conversation,
                                         int64_t max_tokens) {
  if (max_tokens < 0) {
    throw Error(Status::invalid_argument)
        .subject("max_tokens")
        .say("max_tokens is {}, expected 0 or more", max_tokens);
  }
  ConversationWriter writer = write_messages(tokenizer, read_messages(conversation));
  writer.truncate(max_tokens);
  return writer.take();
}

std::vector<TokenId> render_for_completion(const Tokenizer& tokenizer, const Json& conversation,
                                           int64_t max_tokens) {
  std::vector<Message> messages = read_messages(conversation);
  const Message& last = messages.back();
  if (last.role != "assistant") {
    refuse(last.index, last.role, "expected role 'assistant' in the last message, which is to be completed");
  }
  messages.pop_back();
  ConversationWriter writer = write_messages(tokenizer, messages);
  writer.truncate(max_tokens);
  writer.start_reply();
  return writer.take().ids;
}

std::vector<TokenId> render_for_reply(const Tokenizer& tokenizer, const Json& conversation,
                                      int64_t max_tokens) {
  const std::vector<Message> messages = read_messages(conversation);
  const Message& last = messages.back();
  if (last.role != "user") {
    refuse(last.index, last.role, "expected role 'user' in the last message, which is to be answered");
  }
  ConversationWriter writer = write_messages(tokenizer, messages);
  if (max_tokens > 0) writer.truncate(max_tokens);
  writer.start_reply();
  return writer.take().ids;
}

}  // namespace nanochat
