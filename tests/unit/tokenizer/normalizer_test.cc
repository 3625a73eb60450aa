// What the normalizers do with bytes that are not UTF-8, with long texts and with tables that lie.
#include <algorithm>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "io/zstd_stream.h"
#include "tokenizer/character_tables.h"
#include "tokenizer/pipeline_json.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

PipelineNormalizer normalizer_of(const std::string& definition) {
  const Json document = parse_json(definition, "test");
  return PipelineNormalizer(read_normalizer(JsonNode(document, "test", "")));
}

const std::vector<std::string> kDefinitions = {
    R"({"type":"NFC"})",
    R"({"type":"NFD"})",
    R"({"type":"NFKC"})",
    R"({"type":"NFKD"})",
    R"({"type":"Lowercase"})",
    R"({"type":"StripAccents"})",
    R"({"type":"Nmt"})",
    R"({"type":"Strip","strip_left":true,"strip_right":true})",
    R"({"type":"Prepend","prepend":"_"})",
    R"({"type":"Replace","pattern":{"Regex":"\\s"},"content":"_"})",
    R"({"type":"BertNormalizer","clean_text":false,"handle_chinese_chars":true,"lowercase":true})"};

// "1E0A 0323;..." to text.
std::string text_of(const std::string& field) {
  std::string text;
  std::istringstream numbers(field);
  for (std::string number; numbers >> number;) {
    append_utf8(text, static_cast<char32_t>(std::stoul(number, nullptr, 16)));
  }
  return text;
}

// The library's normal forms are those of Unicode 9: what came later does not decompose, compose or move
// there.
bool has_later_characters(const std::string& text) {
  const auto is_in = [](std::span<const CodepointRange> ranges, char32_t c) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](const auto& range) { return c >= range.first && c <= range.last; });
  };
  for (size_t at = 0; at < text.size();) {
    const DecodedCodepoint c = decode_utf8(text, at);
    if (is_in(not_decomposed(), c.codepoint) || is_in(not_combining(), c.codepoint)) return true;
    at += c.length;
  }
  return false;
}

TEST(Normalizers, GiveTheNormalFormsOfUnicodesOwnTest) {
  const std::string file =
      read_text_file(std::string(NANOCHAT_TEST_DATA) + "/unicode/NormalizationTest-14.0.0.txt.zst", 1 << 24);
  const PipelineNormalizer forms[] = {normalizer_of(R"({"type":"NFC"})"), normalizer_of(R"({"type":"NFD"})"),
                                      normalizer_of(R"({"type":"NFKC"})"),
                                      normalizer_of(R"({"type":"NFKD"})")};
  // Columns: source, NFC, NFD, NFKC, NFKD.
  constexpr size_t kExpected[4][5] = {{1, 1, 1, 3, 3}, {2, 2, 2, 4, 4}, {3, 3, 3, 3, 3}, {4, 4, 4, 4, 4}};
  std::istringstream lines(file);
  size_t n_lines = 0, n_later = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#' || line[0] == '@') continue;
    ++n_lines;
    std::istringstream fields(line);
    std::string columns[5];
    bool is_later = false;
    for (std::string& column : columns) {
      std::getline(fields, column, ';');
      column = text_of(column);
      is_later = is_later || has_later_characters(column);
    }
    n_later += is_later ? 1 : 0;
    if (is_later) continue;
    for (size_t form = 0; form < 4; ++form) {
      for (size_t i = 0; i < 5; ++i) {
        ASSERT_EQ(forms[form].apply(columns[i]), columns[kExpected[form][i]])
            << line << " form " << form << " column " << i;
      }
    }
  }
  EXPECT_GT(n_lines, 18000u);
  EXPECT_LT(n_later, 750u);
}

TEST(Normalizers, LeaveBytesThatAreNotUtf8WhereTheyAre) {
  for (const std::string& definition : kDefinitions) {
    const PipelineNormalizer normalizer = normalizer_of(definition);
    const bool prepends = definition.find("Prepend") != std::string::npos;
    const std::string text =
        "\xff"
        "b\x80\xe2\x82"
        "c\xf0\x9f\x98\xc3";
    EXPECT_EQ(normalizer.apply(text), (prepends ? "_" : "") + text) << definition;
  }
}

TEST(Normalizers, MoveNoMarkAcrossAByteThatIsNotUtf8) {
  for (const char* form : {"NFC", "NFD", "NFKC", "NFKD"}) {
    const PipelineNormalizer normalizer = normalizer_of(R"({"type":")" + std::string(form) + R"("})");
    EXPECT_EQ(normalizer.apply("e\xff\xcc\x81"), "e\xff\xcc\x81");
    EXPECT_EQ(normalizer.apply("q\xcc\x87\xff\xcc\xa3"), "q\xcc\x87\xff\xcc\xa3");
  }
}

TEST(Normalizers, TakeOutBytesThatAreNotUtf8WithCleanText) {
  const PipelineNormalizer normalizer = normalizer_of(
      R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"lowercase":true})");
  EXPECT_EQ(normalizer.apply("A\xff\xe2\x82"
                             "B\xc3\xa9\xf0"),
            "abe");
}

TEST(Normalizers, TraceEveryByteOfTextsThatAreNotUtf8) {
  const std::string text =
      "\xff\xc3\xa9 \xe2\x82"
      "A\xcc\x81\xf0\x9f\x98\xe4\xb8\xad\x80";
  for (const std::string& definition : kDefinitions) {
    const PipelineNormalizer normalizer = normalizer_of(definition);
    NormalizedText result;
    const TextPiece piece = normalizer.apply(TextPiece{text}, Trace::on, result);
    EXPECT_EQ(piece.text, normalizer.apply(text));
    for (size_t at = 0; at < piece.text.size(); ++at) {
      const TokenSpan span = piece.origin(at, at + 1);
      EXPECT_LE(span.begin, span.end) << definition;
      EXPECT_LE(span.end, text.size()) << definition;
    }
  }
}

// Nothing but time would tell that a step goes over the text again and again; a quadratic one takes hours.
TEST(Normalizers, TakeLongTextsWithoutASplitPoint) {
  const std::string marks = [] {
    std::string text = "a";
    for (int i = 0; i < 500'000; ++i) text += i % 2 == 0 ? "\xcc\x81" : "\xcc\xa3";
    return text;
  }();
  const std::string letters(1'000'000, 'a'), accents = replace_all(letters, "a", "\xc3\xa9"),
                                             spaces(1'000'000, ' ');
  for (const std::string& definition : kDefinitions) {
    const PipelineNormalizer normalizer = normalizer_of(definition);
    for (const std::string* text : {&marks, &letters, &accents, &spaces}) {
      EXPECT_LE(normalizer.apply(*text).size(), normalizer.size_bound(text->size(), 1)) << definition;
    }
  }
  EXPECT_EQ(
      normalizer_of(R"({"type":"Replace","pattern":{"String":"a"},"content":"bcd"})").apply(letters).size(),
      3 * letters.size());
}

std::string with_length(uint32_t n, const std::string& rest) {
  std::string blob;
  for (int i = 0; i < 4; ++i) blob += static_cast<char>(static_cast<uint8_t>(n >> (8 * i)));
  return blob + rest;
}

TEST(Charsmap, RefusesTablesThatAreCutOrNotText) {
  EXPECT_THROW(Charsmap("", "map"), Error);
  EXPECT_THROW(Charsmap("abc", "map"), Error);
  EXPECT_THROW(Charsmap(with_length(0, "abcd"), "map"), Error);
  EXPECT_THROW(Charsmap(with_length(8, "abcd"), "map"), Error);
  EXPECT_THROW(Charsmap(with_length(3, "abcd"), "map"), Error);
  EXPECT_THROW(Charsmap(with_length(UINT32_MAX, "abcd"), "map"), Error);
  EXPECT_THROW(Charsmap(with_length(4, std::string("\0\0\0\0\xff\0", 6)), "map"), Error);
  EXPECT_NO_THROW(Charsmap(with_length(4, std::string("\0\0\0\0", 4)), "map"));
}

TEST(Charsmap, StaysInsideOfATrieThatLeadsOutOfIt) {
  for (uint32_t unit : {0xffffffffU, 0x7fffffffU, 0x00000161U, 0x80000161U, 0x00000361U, 0x0004c500U}) {
    std::string trie;
    for (int i = 0; i < 256; ++i) trie += with_length(unit + static_cast<uint32_t>(i), "");
    const Charsmap map(with_length(1024, trie + std::string("x\0", 2)), "map");
    NormalizedText text;
    text.start(TextPiece{"abc \xc3\xa9\xff"}, Trace::on);
    map.run(text);
    EXPECT_LE(text.view().text.size(), 16u);
  }
}

TEST(Base64, RefusesWhatIsNone) {
  EXPECT_EQ(decode_base64("", "map"), "");
  EXPECT_EQ(decode_base64("YWJj", "map"), "abc");
  EXPECT_EQ(decode_base64("YWI=", "map"), "ab");
  EXPECT_EQ(decode_base64("YQ==", "map"), "a");
  for (const char* text : {"YWJ", "YW=j", "====", "Y===", "YW J", "YWJ\xff"}) {
    EXPECT_THROW(decode_base64(text, "map"), Error) << text;
  }
}

}  // namespace
}  // namespace nanochat
