// Ids and texts of PyPI's `tokenizers` and `tiktoken` for the same files:
// tests/tools/make_tokenizer_vectors.py.
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

using Ids = std::vector<TokenId>;

std::string shown(const std::string& text) { return json(text).dump(-1, ' ', true); }

std::string streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip_specials) {
  std::string text;
  bool is_first = true;
  for (const TokenId id : ids) {
    text += tokenizer.token_bytes(id, is_first, skip_specials);
    if (!skip_specials || !tokenizer.is_special(id)) is_first = false;
  }
  return text;
}

class LibraryIds : public testing::TestWithParam<const char*> {
 protected:
  static std::shared_ptr<const Tokenizer> load(const std::string& name) {
    const std::string file = "files/" + name;
    if (name.find("k_base") == std::string::npos)
      return load_tokenizer(sample_path(file + ".tokenizer.json.zst"));
    const json vectors = read_sample_json("ids/" + name + ".json.zst");
    std::vector<SpecialToken> specials;
    for (const auto& [text, id] : vectors["specials"].items()) specials.push_back({text, id});
    const SplitPattern pattern = name == "cl100k_base" ? SplitPattern::cl100k : SplitPattern::o200k;
    return load_tiktoken(sample_path(file + ".tiktoken.zst"), pattern, specials);
  }

  static void SetUpTestSuite() { texts_ = sample_texts(); }
  void SetUp() override {
    static std::map<std::string, std::shared_ptr<const Tokenizer>> loaded;
    auto& slot = loaded[GetParam()];
    if (!slot) slot = load(GetParam());
    tokenizer_ = slot;
    vectors_ = read_sample_json(std::string("ids/") + GetParam() + ".json.zst");
  }

  static inline std::vector<std::string> texts_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  json vectors_;
};

TEST_P(LibraryIds, AreOursForEverySample) {
  ASSERT_EQ(vectors_["plain"].size(), texts_.size());
  for (size_t i = 0; i < texts_.size(); ++i) {
    ASSERT_EQ(tokenizer_->encode(texts_[i]), vectors_["plain"][i].get<Ids>()) << shown(texts_[i]);
  }
}

TEST_P(LibraryIds, StandForTheLibrarysBytes) {
  if (!vectors_.contains("spans")) return;  // spans_test.cc has them
  for (size_t i = 0; i < texts_.size(); ++i) {
    Ids ids;
    std::vector<TokenSpan> spans;
    tokenizer_->encode(texts_[i], {}, ids, &spans);
    std::vector<size_t> numbers;
    for (const TokenSpan& span : spans) numbers.insert(numbers.end(), {span.begin, span.end});
    ASSERT_EQ(numbers, vectors_["spans"][i].get<std::vector<size_t>>()) << shown(texts_[i]);
  }
}

TEST_P(LibraryIds, DecodeToTheLibrarysText) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const Ids ids = vectors_["plain"][i].get<Ids>();
    const json& decoded = vectors_["decoded"][i];
    const std::string expected = decoded.is_null() ? texts_[i] : decoded.get<std::string>();
    const std::string bytes = tokenizer_->decode(ids, false);
    ASSERT_EQ(replace_invalid_utf8(bytes), expected) << shown(texts_[i]);
    ASSERT_EQ(streamed(*tokenizer_, ids, false), bytes) << shown(texts_[i]);
  }
}

TEST_P(LibraryIds, AreOursWhenSpecialTokensAreFoundAndAdded) {
  for (const json& sample : vectors_["special"]) {
    const std::string text = sample[0];
    const EncodeOptions found{SpecialsInText::all, AddSpecials::no};
    const EncodeOptions added{SpecialsInText::all, AddSpecials::yes};
    const Ids ids = sample[1].get<Ids>();
    EXPECT_EQ(tokenizer_->encode(text, added), ids) << shown(text);
    EXPECT_EQ(tokenizer_->encode(text, found), sample[2].get<Ids>()) << shown(text);
    EXPECT_EQ(replace_invalid_utf8(tokenizer_->decode(ids, false)), sample[3].get<std::string>())
        << shown(text);
    EXPECT_EQ(replace_invalid_utf8(tokenizer_->decode(ids, true)), sample[4].get<std::string>())
        << shown(text);
    EXPECT_EQ(streamed(*tokenizer_, ids, true), tokenizer_->decode(ids, true)) << shown(text);
  }
}

TEST_P(LibraryIds, StayTheSameThroughToJson) {
  const auto again = parse_tokenizer_json(tokenizer_->to_json(), "written.json");
  EXPECT_EQ(again->vocab_size(), tokenizer_->vocab_size());
  ASSERT_EQ(again->specials().size(), tokenizer_->specials().size());
  for (size_t i = 0; i < texts_.size(); ++i) {
    const Ids ids = tokenizer_->encode(texts_[i]);
    ASSERT_EQ(again->encode(texts_[i]), ids) << shown(texts_[i]);
    ASSERT_EQ(again->decode(ids, false), tokenizer_->decode(ids, false)) << shown(texts_[i]);
  }
  for (const json& sample : vectors_["special"]) {
    const EncodeOptions all{SpecialsInText::all, AddSpecials::yes};
    EXPECT_EQ(again->encode(sample[0].get<std::string>(), all), sample[1].get<Ids>());
  }
  EXPECT_EQ(again->to_json(), tokenizer_->to_json());
}

INSTANTIATE_TEST_SUITE_P(All, LibraryIds,
                         testing::Values("gpt2", "phi-2", "phi-3", "falcon", "toy-roberta", "stories260k",
                                         "cl100k_base", "o200k_base", "bert-base-cased", "bert-base-uncased",
                                         "whisper.tiny"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace nanochat
