// Small made-up tokenizer.json files, one for each rule of the pipeline, against PyPI's `tokenizers`:
// tests/tools/make_small_pipelines.py.
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

TEST(SmallPipelines, GiveTheLibrarysIdsAndTexts) {
  const json cases = read_sample_json("small_pipelines.json.zst");
  EXPECT_GE(cases.size(), 20u);
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
      EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(added, true)), row[5].get<std::string>()) << shown;
      EXPECT_LE(added.size(), tokenizer->encode_bound(text.size())) << shown;
    }
  }
}

}  // namespace
}  // namespace nanochat
