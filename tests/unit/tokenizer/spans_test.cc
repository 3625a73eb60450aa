// Which bytes each id stands for, against PyPI's `tokenizers`: tests/tools/make_span_vectors.py.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/normalized_text.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

std::string shown(const std::string& text) { return json(text).dump(-1, ' ', true); }

struct Encoded {
  std::vector<TokenId> ids;
  std::vector<TokenSpan> spans;
  std::vector<size_t> flat() const {
    std::vector<size_t> numbers;
    for (const TokenSpan& span : spans) numbers.insert(numbers.end(), {span.begin, span.end});
    return numbers;
  }
};

Encoded encode(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  Encoded result;
  tokenizer.encode(text, options, result.ids, &result.spans);
  return result;
}

// The library counts on from the last token, so a character without any token shifts all spans after it
// there.
bool has_a_token_for_every_character(const std::string& name, const std::string& text) {
  if (name == "unknown_dropped" || name == "partial_fallback" || name == "strips_and_words") return false;
  const auto is_control = [](char c) { return c >= 0 && c < ' ' && c != '\n' && c != '\t'; };
  return name != "falcon" || std::none_of(text.begin(), text.end(), is_control);
}

TEST(Spans, AreTheLibrarysForEveryFile) {
  const std::vector<std::string> texts = sample_texts();
  const json files = read_sample_json("spans.json.zst")["files"];
  EXPECT_GE(files.size(), 5u);
  for (const auto& [name, spans] : files.items()) {
    const auto tokenizer = load_tokenizer(sample_path("files/" + name + ".tokenizer.json.zst"));
    ASSERT_EQ(spans.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const Encoded found = encode(*tokenizer, texts[i]);
      if (!has_a_token_for_every_character(name, texts[i])) continue;
      ASSERT_EQ(found.flat(), spans[i].get<std::vector<size_t>>()) << name << ": " << shown(texts[i]);
      ASSERT_EQ(found.ids, tokenizer->encode(texts[i])) << name << ": " << shown(texts[i]);
    }
  }
}

TEST(Spans, AreTheLibrarysForEverySmallPipeline) {
  const json cases = read_sample_json("small_pipelines.json.zst");
  const json spans = read_sample_json("spans.json.zst")["small"];
  for (const auto& [name, sample] : cases.items()) {
    const auto tokenizer = parse_tokenizer_json(sample["tokenizer"].dump(), name);
    for (size_t i = 0; i < sample["rows"].size(); ++i) {
      const std::string text = sample["rows"][i][0];
      if (!has_a_token_for_every_character(name, text)) continue;
      const EncodeOptions options{SpecialsInText::all, AddSpecials::yes};
      EXPECT_EQ(encode(*tokenizer, text, options).flat(), spans[name][i].get<std::vector<size_t>>())
          << name << ": " << shown(text);
    }
  }
}

TEST(Spans, CoverEveryByteOfAByteLevelTextInOrderEvenWhereItIsNotUtf8) {
  const auto tokenizer = load_tokenizer(sample_path("files/phi-2.tokenizer.json.zst"));
  const std::string text = "a\xff\xe2\x82 \xe2\x82\xac \xf0\x9f\x98 \xf0\x9f\x98\x80\x80\xc3";
  const Encoded found = encode(*tokenizer, text);
  size_t end = 0;
  for (const TokenSpan& span : found.spans) {
    EXPECT_LE(span.begin, end);
    EXPECT_LT(span.begin, span.end);
    end = std::max(end, span.end);
  }
  EXPECT_EQ(end, text.size());
}

TEST(WidenToCharacters, KeepsWholeCharactersAndSingleBytesThatAreNotUtf8) {
  const std::string text = "a\xe2\x82\xac\x80\xe2\x82";
  const auto widened = [&](size_t begin, size_t end) {
    const TokenSpan span = widen_to_characters(text, {begin, end});
    return std::vector<size_t>{span.begin, span.end};
  };
  EXPECT_EQ(widened(0, 1), (std::vector<size_t>{0, 1}));
  EXPECT_EQ(widened(0, 2), (std::vector<size_t>{0, 4}));
  EXPECT_EQ(widened(2, 3), (std::vector<size_t>{1, 4}));
  EXPECT_EQ(widened(3, 5), (std::vector<size_t>{1, 5}));
  EXPECT_EQ(widened(4, 5), (std::vector<size_t>{4, 5}));
  EXPECT_EQ(widened(5, 6), (std::vector<size_t>{5, 6}));
  EXPECT_EQ(widened(6, 7), (std::vector<size_t>{6, 7}));
}

}  // namespace
}  // namespace nanochat
