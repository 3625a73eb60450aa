#include "infer/text_stream.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "unit/infer/scripted_source.h"

namespace nanochat {
namespace {

using testing::byte_tokenizer;

std::vector<TokenId> bytes(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

// The pieces that come out, one per token, and the rest.
std::vector<std::string> pieces(TextStream stream, const std::vector<TokenId>& ids) {
  std::vector<std::string> result;
  for (const TokenId id : ids) result.push_back(stream.push(id));
  result.push_back(stream.finish());
  return result;
}

TextStream stream_of(std::vector<std::string> stop_strings) {
  return {byte_tokenizer(), std::move(stop_strings), TextStart::here};
}

using Pieces = std::vector<std::string>;

TEST(TextStream, GivesACharacterWhenItsLastByteIsThere) {
  EXPECT_EQ(pieces(stream_of({}), bytes("a\xc3\xa9\xe2\x82\xac")),
            (Pieces{"a", "", "\xc3\xa9", "", "", "\xe2\x82\xac", ""}));
}

TEST(TextStream, ReplacesBytesThatCanNeverBecomeACharacter) {
  EXPECT_EQ(pieces(stream_of({}), bytes("\xe2\x82(\xff")),
            (Pieces{"", "", "\xef\xbf\xbd(", "\xef\xbf\xbd", ""}));
}

TEST(TextStream, ReplacesACharacterThatTheEndCutsOff) {
  EXPECT_EQ(pieces(stream_of({}), bytes("\xe2\x82")), (Pieces{"", "", "\xef\xbf\xbd"}));
}

TEST(TextStream, HoldsBackWhatMayBeginAStopString) {
  EXPECT_EQ(pieces(stream_of({"xyz"}), bytes("axyb")), (Pieces{"a", "", "", "xyb", ""}));
  EXPECT_EQ(pieces(stream_of({"xyz"}), bytes("xy")), (Pieces{"", "", "xy"}));
  EXPECT_EQ(pieces(stream_of({"aab"}), bytes("aaac")), (Pieces{"", "", "a", "aac", ""}));
}

TEST(TextStream, EndsBeforeAStopStringThatTokensShare) {
  TextStream stream = stream_of({"stop"});
  EXPECT_EQ(pieces(stream, bytes("a stop!")), (Pieces{"a", " ", "", "", "", "", "", ""}));
  for (const TokenId id : bytes("a stop")) stream.push(id);
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, EndsInsideATokenThatHoldsAStopString) {
  TextStream stream(byte_tokenizer({"one. Two"}), {". "}, TextStart::here);
  EXPECT_EQ(stream.push(256), "one");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, TakesTheStopStringThatIsCompleteFirst) {
  TextStream stream(byte_tokenizer({"xabcd"}), {"abcd", "bc"}, TextStart::here);
  EXPECT_EQ(stream.push(256), "xa");
}

TEST(TextStream, TakesTheLongestOfThoseThatEndTogether) {
  TextStream stream(byte_tokenizer({"xabcd"}), {"bc", "abc"}, TextStart::here);
  EXPECT_EQ(stream.push(256), "x");
}

TEST(TextStream, FindsAStopStringOfReplacementCharacters) {
  TextStream stream = stream_of({"\xef\xbf\xbd"});
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, SkipsSpecialTokensAndTokensNobodyKnows) {
  TextStream stream = stream_of({});
  EXPECT_EQ(stream.push(0xc3), "");
  EXPECT_EQ(stream.push(256), "");
  EXPECT_EQ(stream.push(100000), "");
  EXPECT_EQ(stream.push(-1), "");
  EXPECT_EQ(stream.push(0xa9), "\xc3\xa9");
}

TEST(TextStream, RefusesStopStringsThatNoTextContains) {
  for (const std::string& stop : {std::string(), std::string("ab\xff")}) {
    try {
      stream_of({"fine", stop});
      FAIL() << stop;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
      EXPECT_NE(error.message().find("stop string 1"), std::string::npos) << error.message();
    }
  }
}

// --- against the obvious way: decode everything again after each token -------------------------------------

struct Outcome {
  std::string text;
  bool stopped = false;
};

Outcome cut_at_stop(const std::string& text, const std::vector<std::string>& stop_strings) {
  for (size_t end = 1; end <= text.size(); ++end) {
    for (size_t start = 0; start < end; ++start) {
      const std::string candidate = text.substr(start, end - start);
      if (std::find(stop_strings.begin(), stop_strings.end(), candidate) != stop_strings.end()) {
        return {text.substr(0, start), true};
      }
    }
  }
  return {text, false};
}

std::string random_text(std::mt19937& random, const std::vector<std::string>& alphabet, size_t longest) {
  std::string text;
  for (size_t n = 1 + random() % longest; n > 0; --n) text += alphabet[random() % alphabet.size()];
  return text;
}

TEST(TextStream, AgreesWithDecodingTheWholeForAnyTokensAndStopStrings) {
  const std::vector<std::string> fragments = {"a",        "b",    "ab",       "\xc3",     "\xa9", "\xc3\xa9",
                                              "\xe2\x82", "\xac", "\xf0\x9f", "\x98\x80", "\xff", "a\xc3"};
  const std::vector<std::string> characters = {
      "a", "b", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbf\xbd"};
  std::mt19937 random(20260101);
  for (int round = 0; round < 800; ++round) {
    std::vector<std::string> vocabulary;
    while (vocabulary.size() < 8) {
      const std::string token = random_text(random, fragments, 4);
      const bool known = std::find(vocabulary.begin(), vocabulary.end(), token) != vocabulary.end();
      if (token.size() > 1 && !known) vocabulary.push_back(token);
    }
    const auto tokenizer = byte_tokenizer(vocabulary, {"<|bos|>"});
    std::vector<TokenId> ids;
    for (size_t n = random() % 30; n > 0; --n) ids.push_back(256 + static_cast<TokenId>(random() % 9));
    std::vector<std::string> stop_strings;
    for (size_t n = random() % 4; n > 0; --n) stop_strings.push_back(random_text(random, characters, 4));

    TextStream stream(tokenizer, stop_strings, TextStart::here);
    std::string text;
    for (size_t i = 0; i < ids.size() && !stream.stopped(); ++i) {
      const std::string piece = stream.push(ids[i]);
      ASSERT_TRUE(is_valid_utf8(piece));
      text += piece;
      const std::string so_far = tokenizer->decode(std::span(ids).first(i + 1), true);
      const Outcome certain =
          cut_at_stop(replace_invalid_utf8(so_far.substr(0, complete_utf8_prefix(so_far))), stop_strings);
      ASSERT_EQ(stream.stopped(), certain.stopped) << "round " << round << ", token " << i;
      ASSERT_TRUE(certain.text.starts_with(text)) << "round " << round << ", token " << i;
      ASSERT_TRUE(!stop_strings.empty() || certain.text == text) << "round " << round << ", token " << i;
    }
    if (!stream.stopped()) text += stream.finish();
    ASSERT_EQ(text, cut_at_stop(replace_invalid_utf8(tokenizer->decode(ids, true)), stop_strings).text)
        << "round " << round;
  }
}

}  // namespace
}  // namespace nanochat
