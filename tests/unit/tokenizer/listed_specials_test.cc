// Which special tokens a text may contain, and counting ids instead of storing them.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using Ids = std::vector<TokenId>;

std::shared_ptr<const Tokenizer> bytes_with_specials() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return make_byte_bpe(std::move(tokens), SplitPattern::gpt2, {{"<s>", 256}, {"<s>x", 257}, {"<e>", 258}});
}

Ids encode_listed(const Tokenizer& tokenizer, std::string_view text, const Ids& allowed) {
  EncodeOptions options;
  options.in_text = SpecialsInText::listed;
  options.allowed = allowed;
  const Ids ids = tokenizer.encode(text, options);
  EXPECT_EQ(tokenizer.count(text, options), ids.size());
  return ids;
}

TEST(ListedSpecials, AreTheOnlyOnesRecognised) {
  const auto tokenizer = bytes_with_specials();
  const std::string text = "<s>a<e>";
  EXPECT_EQ(encode_listed(*tokenizer, text, {256, 257, 258}), (Ids{256, 'a', 258}));
  EXPECT_EQ(encode_listed(*tokenizer, text, {258}), (Ids{'<', 's', '>', 'a', 258}));
  EXPECT_EQ(encode_listed(*tokenizer, text, {256}), (Ids{256, 'a', '<', 'e', '>'}));
  EXPECT_EQ(encode_listed(*tokenizer, text, {}), tokenizer->encode(text));
  EXPECT_EQ(encode_listed(*tokenizer, text, {'a', 4000, -1}), tokenizer->encode(text));
}

TEST(ListedSpecials, AreNotHiddenByLongerOnesThatAreNotListed) {
  const auto tokenizer = bytes_with_specials();
  EXPECT_EQ(encode_listed(*tokenizer, "<s>x", {256, 257}), (Ids{257}));
  EXPECT_EQ(encode_listed(*tokenizer, "<s>x", {256}), (Ids{256, 'x'}));
  EXPECT_EQ(encode_listed(*tokenizer, "<s><s>x<", {257}), (Ids{'<', 's', '>', 257, '<'}));
}

TEST(ListedSpecials, LeaveAddedTokensThatAreNotSpecialAlone) {
  const auto tokenizer = load_tokenizer(sample_path("files/phi-2.tokenizer.json.zst"));
  const std::string text = "a  <|endoftext|>   b";
  EncodeOptions all;
  all.in_text = SpecialsInText::all;
  EXPECT_EQ(encode_listed(*tokenizer, text, {tokenizer->special_id("<|endoftext|>")}),
            tokenizer->encode(text, all));
  EXPECT_EQ(encode_listed(*tokenizer, text, {}), tokenizer->encode(text));
}

TEST(TokenCount, IsThatOfEncodeForEveryKindOfFile) {
  for (const char* name : {"gpt2", "phi-2", "phi-3", "falcon", "toy-roberta", "stories260k"}) {
    const auto tokenizer = load_tokenizer(sample_path(std::string("files/") + name + ".tokenizer.json.zst"));
    const std::vector<std::string> texts = sample_texts();
    for (size_t i = 0; i < texts.size(); i += 5) {
      for (const SpecialsInText in_text : {SpecialsInText::none, SpecialsInText::all}) {
        for (const AddSpecials add : {AddSpecials::no, AddSpecials::yes}) {
          const EncodeOptions options{in_text, add, {}};
          ASSERT_EQ(tokenizer->count(texts[i], options), tokenizer->encode(texts[i], options).size()) << name;
        }
      }
    }
  }
}

// Short and long tokens, gaps and specials, whatever comes first.
TEST(Decode, GivesTheBytesOfEveryTokenInAnyPlace) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (size_t length = 2; length < 300; length += 1 + length / 9) {
    tokens.emplace_back(length, static_cast<char>('a' + length % 26));
  }
  const auto n_tokens = static_cast<TokenId>(tokens.size());
  const auto tokenizer =
      make_byte_bpe(tokens, SplitPattern::gpt2, {{"<special token>", n_tokens}, {"<s>", n_tokens + 2}});
  for (TokenId first = 0; first < n_tokens; first += 7) {
    Ids ids;
    std::string expected, with_specials;
    for (TokenId i = 0; i < 3000; ++i) {
      const TokenId id = (first + i * 31) % (n_tokens + 1);
      ids.push_back(id);
      with_specials += id == n_tokens ? "<special token>" : tokens[static_cast<size_t>(id)];
      expected += id == n_tokens ? "" : tokens[static_cast<size_t>(id)];
    }
    ASSERT_EQ(tokenizer->decode(ids, false), with_specials);
    ASSERT_EQ(tokenizer->decode(ids, true), expected);
  }
  for (const TokenId bad : {n_tokens + 1, n_tokens + 3, TokenId{-1}}) {
    EXPECT_ANY_THROW(tokenizer->decode(Ids{'a', bad}, false));
    EXPECT_ANY_THROW(tokenizer->decode(Ids{bad}, true));
  }
}

}  // namespace
}  // namespace nanochat
