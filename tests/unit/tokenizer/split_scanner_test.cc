// The scanners against Python's `regex` package: tests/tools/make_split_vectors.py made the vectors.
#include "tokenizer/split_scanner.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/unicode_classes.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

std::vector<size_t> piece_lengths(const SplitRules& rules, std::string_view text) {
  std::vector<size_t> lengths;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = piece_end(rules, text, begin);
    if (end <= begin || end > text.size()) throw std::runtime_error("no progress");
    lengths.push_back(end - begin);
  }
  return lengths;
}

void expect_same_splits(const char* name, const SplitRules& rules) {
  const std::vector<std::string> texts = sample_texts();
  const json expected = read_sample_json("splits.json.zst")[name];
  ASSERT_EQ(expected.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(piece_lengths(rules, texts[i]), expected[i].get<std::vector<size_t>>())
        << name << ": " << json(texts[i]).dump(-1, ' ', true);
  }
}

TEST(SplitScanner, SplitsAsTheRegularExpressionOfEachPattern) {
  expect_same_splits("nanochat", split_rules(SplitPattern::nanochat));
  expect_same_splits("gpt2", split_rules(SplitPattern::gpt2));
  expect_same_splits("cl100k", split_rules(SplitPattern::cl100k));
  expect_same_splits("o200k", split_rules(SplitPattern::o200k));
  expect_same_splits("llama3", split_rules(SplitPattern::llama3));
}

TEST(SplitScanner, SplitsAsTheRegularExpressionsFoundInFiles) {
  constexpr const char* kGpt2 =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  constexpr const char* kLlama3 =
      R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
  constexpr const char* kQwen2 =
      R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
  ASSERT_TRUE(find_split_rules(kGpt2) && find_split_rules(kLlama3) && find_split_rules(kQwen2));
  expect_same_splits("gpt2_plain", *find_split_rules(kGpt2));
  expect_same_splits("llama3", *find_split_rules(kLlama3));
  expect_same_splits("qwen2", *find_split_rules(kQwen2));
}

TEST(SplitScanner, KnowsThePatternsByNameAndByText) {
  for (const char* name : {"nanochat", "gpt2", "cl100k", "o200k", "llama3"}) {
    SplitPattern pattern;
    ASSERT_TRUE(split_pattern_from_name(name, pattern)) << name;
    EXPECT_EQ(find_split_rules(split_pattern_text(pattern)), &split_rules(pattern)) << name;
    EXPECT_EQ(find_split_rules(json_pattern_text(pattern)), &split_rules(pattern)) << name;
  }
  SplitPattern pattern;
  EXPECT_FALSE(split_pattern_from_name("GPT2", pattern));
  EXPECT_EQ(find_split_rules(R"(\w+)"), nullptr);
}

TEST(SplitScanner, TakesBytesThatAreNotUtf8AsSymbols) {
  const SplitRules& rules = split_rules(SplitPattern::nanochat);
  EXPECT_EQ(piece_lengths(rules, "ab\xff\xfe 1"), (std::vector<size_t>{2, 2, 1, 1}));
  EXPECT_EQ(piece_lengths(rules,
                          "\xe4\xbd"
                          "a"),
            (std::vector<size_t>{2, 1}));  // a cut-off character, two symbols
  EXPECT_EQ(piece_lengths(rules, " \xc0\x80\n"), (std::vector<size_t>{4}));
  EXPECT_EQ(piece_lengths(rules, "\xed\xa0\x80"), (std::vector<size_t>{3}));  // a surrogate
}

TEST(SplitScanner, CoversAnyBytesWithAnyPattern) {
  uint32_t state = 1;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) {
      state = state * 1664525 + 1013904223;
      constexpr std::string_view kBytes =
          " \n\r\t'sSlL\xc5\xbf\xe2\x80\x83\xcc\x81\xff\xf0\x9f\x98\x80"
          "09Aa!/";
      text += kBytes[(state >> 16) % kBytes.size()];
    }
    for (const char* name : {"nanochat", "gpt2", "cl100k", "o200k", "llama3"}) {
      SplitPattern pattern;
      ASSERT_TRUE(split_pattern_from_name(name, pattern));
      size_t total = 0;
      for (const size_t length : piece_lengths(split_rules(pattern), text)) total += length;
      ASSERT_EQ(total, text.size()) << name;
    }
  }
}

TEST(UnicodeClasses, AreThoseOfTheRegexPackageForEveryCodePoint) {
  size_t n_checked = 0;
  for (const json& range : read_sample_json("char_classes.json.zst")) {
    for (char32_t c = range[0]; c <= range[1].get<char32_t>(); ++c, ++n_checked) {
      ASSERT_EQ(char_class(c), range[2].get<uint16_t>()) << "U+" << std::hex << static_cast<uint32_t>(c);
    }
  }
  EXPECT_GT(n_checked, 1000000u);
}

TEST(UnicodeClasses, TakeEachByteOfAnIllFormedSequenceAlone) {
  const ClassedChar c = classed_char_at(
      "\xe4\xbd"
      "a",
      0);
  EXPECT_EQ(c.length, 1u);
  EXPECT_EQ(c.bits, 0);
  EXPECT_EQ(classed_char_at("\xe4\xbd\xa0", 0).length, 3u);
}

}  // namespace
}  // namespace nanochat
