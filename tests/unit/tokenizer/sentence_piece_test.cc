// SentencePiece's model files against PyPI's `sentencepiece` (tests/tools/make_model_vectors.py), and what is
// refused.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/sentence_piece_file.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;
using Ids = std::vector<TokenId>;

std::string shown(const std::string& text) { return json(text).dump(-1, ' ', true); }

class SentencePiece : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    tokenizer_ = load_tokenizer(sample_path("files/" + name + ".model.zst"));
    vectors_ = read_sample_json("ids/" + name + ".model.json.zst");
    texts_ = sample_texts();
    for (const json& text : vectors_["texts"]) texts_.push_back(text);
  }
  std::shared_ptr<const Tokenizer> tokenizer_;
  json vectors_;
  std::vector<std::string> texts_;
};

TEST_P(SentencePiece, GivesTheLibrarysIds) {
  ASSERT_EQ(vectors_["plain"].size(), texts_.size());
  for (size_t i = 0; i < texts_.size(); ++i) {
    ASSERT_EQ(tokenizer_->encode(texts_[i]), vectors_["plain"][i].get<Ids>()) << shown(texts_[i]);
  }
}

TEST_P(SentencePiece, GivesTheLibrarysTexts) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const std::string decoded = tokenizer_->decode(vectors_["plain"][i].get<Ids>(), true);
    ASSERT_EQ(replace_invalid_utf8(decoded), vectors_["decoded"][i].get<std::string>()) << shown(texts_[i]);
  }
}

TEST_P(SentencePiece, SpansLieInTheText) {
  for (const std::string& text : texts_) {
    Ids ids;
    std::vector<TokenSpan> spans;
    tokenizer_->encode(text, {}, ids, &spans);
    ASSERT_EQ(spans.size(), ids.size());
    ASSERT_EQ(ids, tokenizer_->encode(text));
    ASSERT_LE(ids.size(), tokenizer_->encode_bound(text.size()));
    size_t begin = 0;
    for (const TokenSpan& span : spans) {
      ASSERT_LE(begin, span.begin) << shown(text);
      ASSERT_LE(span.begin, span.end);
      ASSERT_LE(span.end, text.size());
      begin = span.begin;
    }
  }
}

// Written as tokenizer.json it has the library's own parts, which differ in rare characters.
TEST_P(SentencePiece, StaysTheSameForPlainTextThroughToJson) {
  const auto again = parse_tokenizer_json(tokenizer_->to_json(), "written.json");
  for (const char* text : {"Hello world", "  two   spaces ", "It is the time, and so it was.", "", " "}) {
    EXPECT_EQ(again->encode(text), tokenizer_->encode(text)) << text;
    EXPECT_EQ(again->decode(again->encode(text), false), tokenizer_->decode(tokenizer_->encode(text), false));
  }
}

INSTANTIATE_TEST_SUITE_P(All, SentencePiece, testing::Values("t5", "toy", "bpe"),
                         [](const auto& test) { return std::string(test.param); });

std::string field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}
std::string number(int field_number, int value) {
  return {static_cast<char>(field_number << 3), static_cast<char>(value)};
}
std::string piece(const std::string& text, int type, const std::string& score = std::string(4, '\0')) {
  return field(1, field(1, text) + "\x15" + score + number(3, type));
}

std::string small_file() { return piece("<unk>", 2) + piece("a", 1) + field(2, number(3, 1)); }

void expect_refusal(const std::string& file, const std::string& named) {
  try {
    make_sentence_piece(parse_sentence_piece(file, "small.model"), "small.model");
    ADD_FAILURE() << "not refused: " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.subject(), "small.model");
    EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
  }
}

TEST(SentencePieceFile, IsKnownByItsBeginning) {
  EXPECT_TRUE(looks_like_sentence_piece(small_file()));
  EXPECT_FALSE(looks_like_sentence_piece("{\"model\": 1}"));
  EXPECT_FALSE(looks_like_sentence_piece(""));
  EXPECT_EQ(make_sentence_piece(parse_sentence_piece(small_file(), "x"), "x")->vocab_size(), 2);
}

TEST(SentencePieceFile, IsRefusedWhenCutAnywhere) {
  const std::string file = small_file();
  for (size_t n = 0; n < file.size(); ++n) {
    EXPECT_THROW(parse_sentence_piece(std::string_view(file).substr(0, n), "cut"), Error) << n;
  }
}

TEST(SentencePieceFile, IsRefusedByNameAndPlace) {
  const std::string trainer = field(2, number(3, 1)), unknown = piece("<unk>", 2);
  expect_refusal(unknown + piece("a", 1) + piece("a", 1) + trainer, "pieces 1 and 2 are both 'a'");
  expect_refusal(unknown + piece("", 1) + trainer, "piece 1 has no text");
  expect_refusal(unknown + piece("\xff", 1) + trainer, "piece 1 is not UTF-8");
  expect_refusal(unknown + piece("a", 9) + trainer, "piece 1 has the type 9");
  expect_refusal(unknown + piece("a", 4) + trainer, "user-defined");
  expect_refusal(unknown + piece("a", 1, std::string("\0\0\xc0\x7f", 4)) + trainer,
                 "a score that is no number");
  expect_refusal(piece("a", 1) + trainer, "0 of 1 pieces are the unknown one");
  expect_refusal(unknown + unknown, "trainer");
  expect_refusal(unknown + piece("a", 6) + trainer, "is to be a byte, but is 'a'");
  expect_refusal(unknown + piece("<0x41>", 6) + trainer, "1 pieces are bytes, expected 0");
  expect_refusal(unknown + field(2, number(3, 3)), "of the type word");
  expect_refusal(unknown + field(2, number(3, 7)), "the model type 7");
  expect_refusal(unknown + trainer + field(3, field(2, "xyz")), "charsmap of 3 bytes");
  expect_refusal(unknown + trainer + field(3, number(5, 0)), "escape_whitespaces");
  expect_refusal(unknown + trainer + "\x0b", "wire type 3");
  expect_refusal(unknown + trainer + std::string(1, '\x02'), "field number 0");
  expect_refusal(number(1, 5), "field 1 has the wire type 0, expected 2");
}

}  // namespace
}  // namespace nanochat
