// tiktoken's rank files and byte-level BPE from parts: what is refused, any bytes, long pieces.
#include "tokenizer/byte_bpe.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tokenizer/tiktoken_file.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {
namespace {

std::vector<std::string> single_bytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return tokens;
}

std::vector<std::string> with(std::vector<std::string> more) {
  std::vector<std::string> tokens = single_bytes();
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

template <class Call>
std::string refused(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::format_invalid) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "not refused";
  return {};
}

bool names(const std::string& message, const char* part) { return message.find(part) != std::string::npos; }

TEST(TiktokenFile, ReadsTokensAndRanks) {
  const auto tokens = parse_tiktoken("IQ== 0\nIiM= 7\r\n\nYWJj 300", "ranks");
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens.text(0), "!");
  EXPECT_EQ(tokens.text(1), "\"#");
  EXPECT_EQ(tokens.id(1), 7);
  EXPECT_EQ(tokens.text(2), "abc");
  EXPECT_TRUE(looks_like_tiktoken("IQ== 0\n"));
  EXPECT_FALSE(looks_like_tiktoken("{\"model\": 0}"));
}

TEST(TiktokenFile, NamesTheLineThatIsMalformed) {
  for (const char* bad : {"IQ==", "IQ== ", "IQ== x", "IQ== 1 2", "IQ== -1", "IQ== 1.5", "IQ= 1", "I Q== 1",
                          "IR== 1", "=IQ= 1", "==== 1", " 1", "IQ== 99999999999", "IQ==\t1"}) {
    const std::string text = std::string("YQ== 0\nYg== 1\n") + bad + "\nYw== 2\n";
    EXPECT_TRUE(names(refused([&] { parse_tiktoken(text, "ranks.tiktoken"); }), "ranks.tiktoken: line 3:"))
        << bad;
  }
}

TEST(ByteBpe, RefusesWhatIsNoVocabulary) {
  const auto make = [](std::vector<std::string> tokens, std::vector<SpecialToken> specials = {}) {
    return refused([&] { make_byte_bpe(std::move(tokens), SplitPattern::gpt2, std::move(specials)); });
  };
  EXPECT_TRUE(names(make({"a", "b"}), "single byte 0"));
  EXPECT_TRUE(names(make(with({"ab", "ab"})), "'ab' has two ranks, 256 and 257"));
  EXPECT_TRUE(names(make(with({""})), "rank 256 is empty"));
  EXPECT_TRUE(names(make(with({"ab"}), {{"<x>", 256}}), "'<x>': id 256 is that of token 'ab'"));
  EXPECT_TRUE(names(make(with({}), {{"<x>", 256}, {"<y>", 256}}), "twice"));
  EXPECT_TRUE(names(make(with({}), {{"<x>", -1}}), "id -1"));
  EXPECT_TRUE(names(make(with({}), {{"\xff", 256}}), "UTF-8"));
  std::vector<Vocabulary::Entry> twice{{0, "a", true}, {0, "b", true}};
  EXPECT_TRUE(
      names(refused([&] { make_ranked_bpe(twice, SplitPattern::gpt2, {}, "x"); }), "rank 0 has two tokens"));
}

TEST(ByteBpe, TakesTheWholePieceFirst) {
  // No merge leads to "abc", since neither "ab" nor "bc" is a token.
  const auto tokenizer = make_byte_bpe(with({"abc"}), SplitPattern::gpt2, {});
  EXPECT_EQ(tokenizer->encode("abc"), (std::vector<TokenId>{256}));
  EXPECT_EQ(tokenizer->encode("abcd").size(), 4u);
}

TEST(ByteBpe, MergesTheLowestRankFirstAndTheLeftmostOfEqualOnes) {
  const auto tokenizer = make_byte_bpe(with({"bc", "ab", "aa", "aaa"}), SplitPattern::gpt2, {});
  EXPECT_EQ(tokenizer->encode("abcd"), (std::vector<TokenId>{'a', 256, 'd'}));
  EXPECT_EQ(tokenizer->encode("abd"), (std::vector<TokenId>{257, 'd'}));
  EXPECT_EQ(tokenizer->encode("aaaaa"), (std::vector<TokenId>{258, 259}));
}

TEST(ByteBpe, LeavesGapsOfTheRanksWithoutAToken) {
  std::vector<Vocabulary::Entry> tokens;
  for (const std::string& byte : single_bytes())
    tokens.push_back({static_cast<TokenId>(tokens.size()), byte, true});
  tokens.push_back({300, "ab", true});
  const auto tokenizer = make_ranked_bpe(tokens, SplitPattern::gpt2, {{"<x>", 256}}, "gap");
  EXPECT_EQ(tokenizer->vocab_size(), 301);
  EXPECT_EQ(tokenizer->encode("ab"), (std::vector<TokenId>{300}));
  EXPECT_THROW(tokenizer->token_bytes(299, false, false), Error);
  const auto again = parse_tokenizer_json(tokenizer->to_json(), "written");
  EXPECT_EQ(again->special_id("<x>"), 256);
}

TEST(ByteBpe, GivesBackAnyBytes) {
  const auto tokenizer =
      make_byte_bpe(with({"ab", " a", "\xe2\x80", "\xff\xff"}), SplitPattern::nanochat, {{"<|bos|>", 260}});
  uint32_t state = 7;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 40; ++i) {
      state = state * 1664525 + 1013904223;
      text += static_cast<char>(round % 2 ? "ab \xe2\x80\xff\n"[state >> 16 & 7 ? (state >> 16) % 7 : 0]
                                          : state >> 24);
    }
    const auto ids = tokenizer->encode(text);
    ASSERT_EQ(tokenizer->decode(ids, false), text);
    ASSERT_LE(ids.size(), tokenizer->encode_bound(text.size()));
  }
}

TEST(ByteBpe, EncodesAMegabyteWithoutASplit) {
  const auto tokenizer = make_byte_bpe(with({"aa", "aaaa", "aaaaaaaa"}), SplitPattern::nanochat, {});
  const std::string text((1 << 20) + 7, 'a');
  const auto ids = tokenizer->encode(text);
  EXPECT_EQ(ids.size(), (1u << 17) + 3);  // and 4 + 2 + 1
  EXPECT_EQ(tokenizer->decode(ids, false), text);
}

}  // namespace
}  // namespace nanochat
