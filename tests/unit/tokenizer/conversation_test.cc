#include "tokenizer/conversation.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/bpe_trainer.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

json read_golden(const std::string& name) {
  return json::parse(read_file(std::string(NANOCHAT_TEST_DATA) + "/golden/" + name));
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::shared_ptr<const Tokenizer> golden_tokenizer(const std::string& name) {
  const json golden = read_golden("tokenizer/" + name + "/tokenizer.json");
  std::vector<std::string> token_bytes;
  for (const json& hex : golden["tokens_hex"]) token_bytes.push_back(from_hex(hex));
  std::vector<SpecialToken> specials;
  for (const auto& [text, id] : golden["special_tokens"].items())
    specials.push_back({text, id.get<TokenId>()});
  return make_byte_bpe(std::move(token_bytes), SplitPattern::nanochat, std::move(specials));
}

// 256 bytes and the special tokens given, from id 256 on.
std::shared_ptr<const Tokenizer> byte_tokenizer(const std::vector<std::string>& special_texts) {
  std::vector<std::string> token_bytes;
  for (int byte = 0; byte < 256; ++byte) token_bytes.emplace_back(1, static_cast<char>(byte));
  std::vector<SpecialToken> specials;
  for (const std::string& text : special_texts) {
    specials.push_back({text, static_cast<TokenId>(256 + specials.size())});
  }
  return make_byte_bpe(std::move(token_bytes), SplitPattern::nanochat, std::move(specials));
}

Json conversation_of(std::string_view messages) {
  return parse_json("{\"messages\":" + std::string(messages) + "}", "conversation");
}

Json as_given(const json& conversation) { return parse_json(conversation.dump(), "conversation"); }

template <class F>
std::string message_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    return error.message();
  }
  return "(no error)";
}

class EveryGoldenConversation : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Conversation, EveryGoldenConversation,
                         testing::Values("mixed_512", "tinyshakespeare_2048"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(EveryGoldenConversation, IsRenderedAsTheReferenceDoes) {
  const auto tokenizer = golden_tokenizer(GetParam());
  const json golden = read_golden(std::string("conversation/") + GetParam() + ".json");
  for (const json& item : golden["conversations"]) {
    const std::string name = item["name"];
    const json& expected = item["render_conversation"];
    const int64_t max_tokens = item.contains("max_tokens") ? item["max_tokens"].get<int64_t>() : 2048;
    if (expected.contains("error")) {
      const auto render = [&] {
        render_conversation(*tokenizer, as_given(item["conversation"]), max_tokens);
      };
      EXPECT_EQ(message_of(render).substr(0, 8), "message ") << name;
      continue;
    }
    const RenderedConversation rendered =
        render_conversation(*tokenizer, as_given(item["conversation"]), max_tokens);
    EXPECT_EQ(rendered.ids, expected["ids"].get<std::vector<TokenId>>()) << name;
    EXPECT_EQ(rendered.mask, expected["mask"].get<std::vector<uint8_t>>()) << name;
  }
}

TEST_P(EveryGoldenConversation, IsRenderedForCompletionAsTheReferenceDoes) {
  const auto tokenizer = golden_tokenizer(GetParam());
  const json golden = read_golden(std::string("conversation/") + GetParam() + ".json");
  for (const json& item : golden["conversations"]) {
    const std::string name = item["name"];
    const json& expected = item["render_for_completion"];
    if (expected.contains("error")) {
      const auto render = [&] { render_for_completion(*tokenizer, as_given(item["conversation"])); };
      EXPECT_EQ(message_of(render).substr(0, 8), "message ") << name;
      continue;
    }
    EXPECT_EQ(render_for_completion(*tokenizer, as_given(item["conversation"])),
              expected["ids"].get<std::vector<TokenId>>())
        << name;
  }
}

TEST_P(EveryGoldenConversation, RepliesWhereCompletionWould) {
  const auto tokenizer = golden_tokenizer(GetParam());
  const json golden = read_golden(std::string("conversation/") + GetParam() + ".json");
  size_t n_compared = 0;
  for (const json& item : golden["conversations"]) {
    const json& completion = item["render_for_completion"];
    if (completion.contains("error") || completion["ids"].size() > 2048) continue;  // a reply is not cut
    json asked = item["conversation"];
    asked["messages"].erase(asked["messages"].size() - 1);
    EXPECT_EQ(render_for_reply(*tokenizer, as_given(asked)), completion["ids"].get<std::vector<TokenId>>())
        << item["name"].dump();
    ++n_compared;
  }
  EXPECT_GT(n_compared, 8u);
}

TEST(Conversation, NamesTheMessageItRefuses) {
  const auto tokenizer = byte_tokenizer(nanochat_special_tokens());
  const auto refusal = [&](std::string_view messages) {
    return message_of([&] { render_conversation(*tokenizer, conversation_of(messages)); });
  };
  EXPECT_EQ(refusal("[]"), "the conversation has 0 messages, expected 1 or more");
  EXPECT_EQ(refusal("7"), "the conversation has no list 'messages'");
  EXPECT_EQ(refusal("[7]"), "message 0 has no text 'role'");
  EXPECT_EQ(refusal(R"([{"role":"user"}])"), "message 0 (role 'user'): it has no 'content'");
  EXPECT_EQ(refusal(R"([{"role":"system","content":"s"}])"),
            "message 0 (role 'system'): no message follows, expected role 'user'");
  EXPECT_EQ(refusal(R"([{"role":"system","content":"s"},{"role":"assistant","content":"a"}])"),
            "message 1 (role 'assistant'): expected role 'user' behind the system message");
  EXPECT_EQ(refusal(R"([{"role":"system","content":[]},{"role":"user","content":"a"}])"),
            "message 0 (role 'system'): its content is not a text");
  EXPECT_EQ(refusal(R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])"),
            "message 1 (role 'user'): expected role 'assistant' here");
  EXPECT_EQ(
      refusal(
          R"([{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"system","content":"b"}])"),
      "message 2 (role 'system'): expected role 'assistant' here");
  EXPECT_EQ(refusal(R"([{"role":"user","content":null}])"),
            "message 0 (role 'user'): its content is not a text");
  EXPECT_EQ(refusal(R"([{"role":"user","content":"a"},{"role":"assistant","content":3}])"),
            "message 1 (role 'assistant'): its content is neither a text nor a list of parts");
  EXPECT_EQ(refusal(R"([{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"text"}]}])"),
            "message 1 (role 'assistant'): part 0 has no text 'type' and 'text'");
  EXPECT_EQ(refusal(R"([{"role":"user","content":"a"},{"role":"assistant","content":["b"]}])"),
            "message 1 (role 'assistant'): part 0 has no text 'type' and 'text'");
  EXPECT_EQ(
      refusal(
          R"([{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"image","text":""}]}])"),
      "message 1 (role 'assistant'): part 0 has type 'image', expected 'text', 'python' or 'python_output'");
  EXPECT_EQ(message_of([&] { render_conversation(*tokenizer, Json("text")); }),
            "the conversation has no list 'messages'");
  EXPECT_EQ(message_of([&] { render_conversation(*tokenizer, conversation_of("[]"), -1); }),
            "max_tokens is -1, expected 0 or more");
}

TEST(Conversation, SaysWhoMustHaveTheLastWord) {
  const auto tokenizer = byte_tokenizer(nanochat_special_tokens());
  const Json ends_with_user = conversation_of(R"([{"role":"user","content":"a"}])");
  const Json ends_with_assistant =
      conversation_of(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])");
  EXPECT_EQ(
      message_of([&] { render_for_completion(*tokenizer, ends_with_user); }),
      "message 0 (role 'user'): expected role 'assistant' in the last message, which is to be completed");
  EXPECT_EQ(
      message_of([&] { render_for_reply(*tokenizer, ends_with_assistant); }),
      "message 1 (role 'assistant'): expected role 'user' in the last message, which is to be answered");
}

TEST(Conversation, DoesNotCutWhatIsToBeAnswered) {
  const auto tokenizer = byte_tokenizer(nanochat_special_tokens());
  const Json conversation =
      conversation_of("[{\"role\":\"user\",\"content\":\"" + std::string(5000, 'x') + "\"}]");
  const std::vector<TokenId> ids = render_for_reply(*tokenizer, conversation);
  EXPECT_EQ(ids.size(), 5004u);
  EXPECT_EQ(ids.back(), tokenizer->special_id("<|assistant_start|>"));
}

TEST(Conversation, NeedsItsSpecialTokensButNotTheToolsOwn) {
  std::vector<std::string> texts = nanochat_special_tokens();
  const Json conversation = conversation_of(
      R"([{"role":"user","content":"a"},
          {"role":"assistant","content":[{"type":"python","text":"b"},{"type":"python_output","text":"c"}]}])");
  texts.resize(5);  // up to <|assistant_end|>
  const RenderedConversation rendered = render_conversation(*byte_tokenizer(texts), conversation);
  EXPECT_EQ(rendered.ids, (std::vector<TokenId>{256, 257, 'a', 258, 259, 'b', 'c', 260}));
  EXPECT_EQ(rendered.mask, (std::vector<uint8_t>{0, 0, 0, 0, 0, 1, 0, 1}));
  texts.resize(4);
  EXPECT_EQ(message_of([&] { render_conversation(*byte_tokenizer(texts), conversation); }),
            "the tokenizer has no special token '<|assistant_end|>', which a conversation needs");
}

}  // namespace
}  // namespace nanochat
