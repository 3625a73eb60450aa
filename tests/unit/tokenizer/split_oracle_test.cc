// The scanners against PCRE2: every code point in several contexts, texts of many languages, random strings,
// bytes that are not UTF-8.
#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/split_scanner.h"
#include "tokenizer/unicode_classes.h"
#include "unit/tokenizer/regex_oracle.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

constexpr std::string_view kQwen2 =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

constexpr std::array<std::string_view, 6> kRules{"nanochat", "gpt2", "cl100k", "o200k", "llama3", "qwen2"};

class SplitOracle : public testing::TestWithParam<std::string_view> {
 protected:
  std::string_view pattern() const {
    SplitPattern named;
    return split_pattern_from_name(GetParam(), named) ? split_pattern_text(named) : kQwen2;
  }
  void expect_same(std::string_view text) const {
    static constexpr size_t kShown = 40;
    const SplitRules& rules = *find_split_rules(pattern());
    const std::vector<size_t> expected = oracle_.piece_ends(text);
    std::vector<size_t> ends(expected.size() + 1);
    ends.resize(find_piece_ends(rules, text, 0, ends));
    if (ends == expected) return;
    const size_t i = static_cast<size_t>(
        std::mismatch(ends.begin(), ends.end(), expected.begin(), expected.end()).first - ends.begin());
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    const std::string around = replace_invalid_utf8(text.substr(begin, kShown));
    FAIL() << GetParam() << ", piece " << i << " at byte " << begin << ": "
           << nlohmann::json(around).dump(-1, ' ', true) << " ends at " << (i < ends.size() ? ends[i] : 0)
           << ", in PCRE2 at " << (i < expected.size() ? expected[i] : 0);
  }

  RegexOracle oracle_{pattern()};
};

// Its tables may be older than ours: then it takes a new character for none.
bool is_known_to_the_oracle(char32_t c) {
  static const RegexOracle unassigned(R"(\p{Cn})");
  std::string text;
  append_utf8(text, c);
  return char_class(c) == 0 || !unassigned.matches(text);
}

TEST_P(SplitOracle, AgreesOnEveryCodePointInManyContexts) {
  const auto add_contexts = [](std::string& text, char32_t c) {
    std::string here;
    append_utf8(here, c);
    for (const char* context :
         {"a@b", "A@B", " @ ", " @x", "1@2", "'@'s", ".@.", "\n@\n", "\t@@ y", "@\xcc\x81Z"}) {
      for (; *context != '\0'; ++context) *context == '@' ? text += here : text += *context;
      text += ";\n";
    }
  };
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    const bool surrogate = c >= 0xd800 && c < 0xe000;
    const bool sampled =
        c < 0x32400 || (c >= 0xe0000 && c < 0xe0200) || c % 0x101 == 0 || (c & 0xffff) > 0xfffd;
    if (!surrogate && sampled && is_known_to_the_oracle(c)) add_contexts(text, c);
    if (text.size() < 1 << 16 && c + 1 < 0x110000) continue;
    expect_same(text);
    if (HasFatalFailure()) return;
    text.clear();
  }
}

TEST_P(SplitOracle, AgreesOnTextsOfManyLanguagesAndTheirCuts) {
  for (const std::string& text : sample_texts()) {
    expect_same(text);
    for (size_t cut = 1; cut < text.size(); cut = cut * 2 + 1)
      expect_same(std::string_view(text).substr(cut));
    if (HasFatalFailure()) return;
  }
}

TEST_P(SplitOracle, AgreesOnRandomStrings) {
  const std::vector<std::string> parts{" ",
                                       " ",
                                       "  ",
                                       "\n",
                                       "\r\n",
                                       "\t",
                                       "'",
                                       "'s",
                                       "'LL",
                                       "l",
                                       "E",
                                       "the",
                                       "Word",
                                       "A",
                                       "7",
                                       "1234",
                                       "!",
                                       "//",
                                       "({",
                                       "\xc3\xa9",
                                       "\xc5\xbf",
                                       "\xcc\x81",
                                       "\x0b",
                                       "\xe2\x80\x83",
                                       "\xc2\xa0",
                                       "\xc2\x85",
                                       "\xe4\xbd\xa0\xe5\xa5\xbd",
                                       "\xe3\x80\x82",
                                       "\xca\xb0",
                                       "\xc7\x85",
                                       "\xf0\x9f\x98\x80",
                                       "\xd9\xa3",
                                       "\xff",
                                       "\xe4\xbd",
                                       "\xed\xa0\x80",
                                       "\xc0\x80",
                                       "\xf0\x9f",
                                       std::string(1, '\0'),
                                       "\xef\xbf\xbd"};
  std::mt19937 random(5);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t n = random() % 30; n > 0; --n) text += parts[random() % parts.size()];
    expect_same(text);
    if (HasFatalFailure()) return;
  }
}

TEST_P(SplitOracle, AgreesOnRandomBytes) {
  std::mt19937 random(6);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    const uint32_t mask = round % 2 ? 0xff : 0x7f;
    for (size_t n = random() % 60; n > 0; --n) text += static_cast<char>(random() & mask);
    expect_same(text);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SplitOracle, testing::ValuesIn(kRules),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace nanochat
