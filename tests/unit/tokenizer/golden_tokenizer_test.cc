// Ids, pieces and bytes of the reference implementation, for five tokenizers that it trained.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/utf8.h"
#include "tokenizer/split_scanner.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

class GoldenTokenizer : public testing::TestWithParam<const char*> {
 protected:
  json read(const char* file) const {
    const std::string path =
        std::string(NANOCHAT_TEST_DATA) + "/tokenizers/golden/" + GetParam() + "/" + file;
    return json::parse(read_file(path));
  }

  std::shared_ptr<const Tokenizer> made_from_its_parts() const {
    const json file = read("tokenizer.json");
    std::vector<std::string> tokens;
    for (const json& hex : file["tokens_hex"]) tokens.push_back(from_hex(hex));
    std::vector<SpecialToken> specials;
    for (const auto& [text, id] : file["special_tokens"].items()) specials.push_back({text, id});
    return make_byte_bpe(tokens, SplitPattern::nanochat, specials);
  }
};

TEST_P(GoldenTokenizer, HasThePatternOfTheReference) {
  EXPECT_EQ(read("tokenizer.json")["pattern"], split_pattern_text(SplitPattern::nanochat));
}

TEST_P(GoldenTokenizer, SplitsAsTheReference) {
  for (const json& sample : read("encode.json")) {
    const std::string text = from_hex(sample["utf8_hex"]);
    std::vector<std::string> expected, pieces;
    for (const json& hex : sample["chunks_utf8_hex"]) expected.push_back(from_hex(hex));
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
      end = piece_end(SplitPattern::nanochat, text, begin);
      pieces.push_back(text.substr(begin, end - begin));
    }
    EXPECT_EQ(pieces, expected) << text;
  }
}

TEST_P(GoldenTokenizer, EncodesToTheIdsOfTheReference) {
  const auto tokenizer = made_from_its_parts();
  for (const json& sample : read("encode.json")) {
    const std::string text = from_hex(sample["utf8_hex"]);
    std::vector<TokenId> ids = tokenizer->encode(text);
    EXPECT_EQ(ids, sample["ids"].get<std::vector<TokenId>>()) << text;
    EXPECT_EQ(tokenizer->decode(ids, false), text);
    ids.insert(ids.begin(), tokenizer->bos());
    EXPECT_EQ(ids, sample["ids_with_bos"].get<std::vector<TokenId>>()) << text;
  }
}

TEST_P(GoldenTokenizer, DecodesToTheBytesOfTheReference) {
  const auto tokenizer = made_from_its_parts();
  for (const json& sample : read("decode.json")) {
    const auto ids = sample["ids"].get<std::vector<TokenId>>();
    const std::string bytes = tokenizer->decode(ids, false);
    EXPECT_EQ(bytes, from_hex(sample["bytes_hex"])) << sample["ids"].dump();
    EXPECT_EQ(replace_invalid_utf8(bytes), sample["text"].get<std::string>()) << sample["ids"].dump();
  }
}

TEST_P(GoldenTokenizer, CountsTheBytesOfEveryTokenAsTheReference) {
  const auto tokenizer = made_from_its_parts();
  const json counts = read("tokenizer.json")["token_bytes"];
  ASSERT_EQ(static_cast<size_t>(tokenizer->vocab_size()), counts.size());
  for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
    EXPECT_EQ(tokenizer->token_bytes(id, false, true).size(), counts[static_cast<size_t>(id)]) << id;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer,
                         testing::Values("mixed_2048", "mixed_512", "tiny_ties_300", "tinyshakespeare_2048",
                                         "tinyshakespeare_512"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace nanochat
