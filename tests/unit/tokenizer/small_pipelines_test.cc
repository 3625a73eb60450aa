// Small made-up tokenizer.json files, one for each rule of the pipeline, against PyPI's `tokenizers`:
// tests/tools/make_small_pipelines.py and make_small_models.py.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/decoded_stream.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

using Ids = std::vector<TokenId>;

std::vector<size_t> spans_of(const Tokenizer& tokenizer, const std::string& text) {
  Ids ids;
  std::vector<TokenSpan> spans;
  tokenizer.encode(text, {SpecialsInText::all, AddSpecials::yes}, ids, &spans);
  std::vector<size_t> numbers;
  for (const TokenSpan& span : spans) numbers.insert(numbers.end(), {span.begin, span.end});
  return numbers;
}

class SmallFiles : public testing::TestWithParam<const char*> {};

std::string streamed(const std::shared_ptr<const Tokenizer>& tokenizer, const Ids& ids) {
  DecodedStream stream(tokenizer, DecodedStream::Specials::shown, DecodedStream::Form::exact);
  std::string text;
  for (const TokenId id : ids) text += stream.push({&id, 1});
  return text + stream.finish();
}

TEST_P(SmallFiles, GiveTheLibrarysIdsSpansAndTexts) {
  const json cases = read_sample_json(GetParam());
  EXPECT_GE(cases.size(), 17u);
  for (const auto& [name, sample] : cases.items()) {
    const auto tokenizer = parse_tokenizer_json(sample["tokenizer"].dump(), name);
    const auto again = parse_tokenizer_json(tokenizer->to_json(), name);
    for (const json& row : sample["rows"]) {
      const std::string text = row[0];
      const std::string shown = name + ": " + json(text).dump(-1, ' ', true);
      const Ids added = row[2].get<Ids>();
      EXPECT_EQ(tokenizer->encode(text, {SpecialsInText::all, AddSpecials::no}), row[1].get<Ids>()) << shown;
      EXPECT_EQ(tokenizer->encode(text, {SpecialsInText::all, AddSpecials::yes}), added) << shown;
      EXPECT_EQ(tokenizer->encode(text), row[3].get<Ids>()) << shown;
      EXPECT_EQ(again->encode(text), row[3].get<Ids>()) << shown;
      EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(added, false)), row[4].get<std::string>()) << shown;
      EXPECT_EQ(streamed(tokenizer, added), tokenizer->decode(added, false)) << shown;
      EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(added, true)), row[5].get<std::string>()) << shown;
      if (row.size() > 6) {
        EXPECT_EQ(spans_of(*tokenizer, text), row[6].get<std::vector<size_t>>()) << shown;
      }
      EXPECT_LE(added.size(), tokenizer->encode_bound(text.size())) << shown;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SmallFiles,
                         testing::Values("small_pipelines.json.zst", "small_models.json.zst"),
                         [](const auto& test) {
                           const std::string name = test.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace nanochat
