// Every normalizer, pre-tokenizer and character set against PyPI's `tokenizers`:
// tests/tools/make_normalizer_vectors.py.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pipeline_json.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

std::string shown(const std::string& text) { return json(text).dump(-1, ' ', true); }

std::string one(char32_t c) {
  std::string text;
  append_utf8(text, c);
  return text;
}

template <class Visit>
void each_codepoint(const Visit& visit) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xd800 || c > 0xdfff) visit(c);
  }
}

std::vector<bool> set_of(const json& ranges) {
  std::vector<bool> set(0x110000);
  for (const json& range : ranges) {
    for (size_t c = range[0].get<size_t>(); c <= range[1].get<size_t>(); ++c) set[c] = true;
  }
  return set;
}

// The parts of a document live only as long as it does.
struct Definition {
  explicit Definition(const json& text) : document(parse_json(text.dump(), "test")) {}
  JsonNode node() const { return {document, "test", ""}; }
  Json document;
};

PipelineNormalizer normalizer_of(const json& definition) {
  return PipelineNormalizer(read_normalizer(Definition(definition).node()));
}

// The library forgets to count characters that Precompiled takes off the beginning, so that all origins after
// them are too early there. Here they are what they should be.
bool lags_in_the_library(const json& definition, const PipelineNormalizer& normalizer,
                         const std::string& text) {
  if (definition["type"] != "Precompiled" || text.empty()) return false;
  return normalizer.apply(text.substr(0, decode_utf8(text, 0).length)).empty();
}

TEST(NormalizerVectors, GiveTheLibrarysTextsAndOrigins) {
  const json cases = read_sample_json("normalizers.json.zst");
  EXPECT_GE(cases.size(), 30u);
  for (const json& sample : cases) {
    const std::string name = sample["normalizer"].dump().substr(0, 200);
    const PipelineNormalizer normalizer = normalizer_of(sample["normalizer"]);
    for (const json& row : sample["texts"]) {
      const std::string text = row[0], expected = row[1];
      ASSERT_EQ(normalizer.apply(text), expected) << name << " of " << shown(text);
      NormalizedText result;
      const TextPiece piece = normalizer.apply({text}, Trace::on, result);
      ASSERT_EQ(piece.text, expected) << name << " of " << shown(text);
      EXPECT_LE(expected.size(), normalizer.size_bound(text.size(), 1)) << name << " of " << shown(text);
      std::vector<size_t> origins;
      for (size_t at = 0; at < piece.text.size();) {
        const size_t length = decode_utf8(piece.text, at).length;
        const TokenSpan span = piece.origin(at, at + length);
        origins.insert(origins.end(), {span.begin, span.end});
        at += length;
      }
      if (lags_in_the_library(sample["normalizer"], normalizer, text)) continue;
      EXPECT_EQ(origins, row[2].get<std::vector<size_t>>()) << name << " of " << shown(text);
    }
  }
}

TEST(NormalizerVectors, GiveTheLibrarysTextForEveryCodePoint) {
  for (const json& sample : read_sample_json("normalizers.json.zst")) {
    const PipelineNormalizer normalizer = normalizer_of(sample["normalizer"]);
    for (const json& context : sample["codepoints"]) {
      const std::string before = context["before"], after = context["after"];
      std::vector<const std::string*> results(0x110000);
      for (const auto& [result, ranges] : context["results"].items()) {
        for (const json& range : ranges) {
          for (size_t c = range[0].get<size_t>(); c <= range[1].get<size_t>(); ++c) results[c] = &result;
        }
      }
      size_t n_wrong = 0;
      each_codepoint([&](char32_t c) {
        const std::string text = before + one(c) + after;
        const std::string expected = results[c] ? replace_all(*results[c], "\xee\x80\x80", one(c)) : text;
        if (normalizer.apply(text) == expected || ++n_wrong > 5) return;
        ADD_FAILURE() << sample["normalizer"].dump().substr(0, 200) << " of " << shown(text) << ": "
                      << shown(normalizer.apply(text)) << ", the library: " << shown(expected);
      });
      EXPECT_EQ(n_wrong, 0u);
    }
  }
}

struct Piece {
  std::string text;
  TokenSpan span;
};

std::vector<Piece> pieces_of(const PreTokenizer& pre_tokenizer, const std::string& text, Trace trace) {
  std::vector<Piece> pieces;
  pre_tokenizer.split({text}, trace, [&](const TextPiece& piece) {
    const std::string written =
        pre_tokenizer.is_byte_level() ? to_alphabet(piece.text) : std::string(piece.text);
    pieces.push_back({written, widen_to_characters(text, piece.origin(0, piece.text.size()))});
  });
  return pieces;
}

TEST(PreTokenizerVectors, GiveTheLibrarysPiecesAndSpans) {
  const json cases = read_sample_json("pre_tokenizers.json.zst");
  EXPECT_GE(cases.size(), 60u);
  for (const json& sample : cases) {
    const std::string name = sample["pre_tokenizer"].dump();
    const PreTokenizer pre_tokenizer(read_pre_tokenizer(Definition(sample["pre_tokenizer"]).node()));
    for (const json& row : sample["texts"]) {
      const std::string text = row[0];
      const std::vector<Piece> found = pieces_of(pre_tokenizer, text, Trace::on);
      json written = json::array();
      for (const Piece& piece : found) written.push_back({piece.text, piece.span.begin, piece.span.end});
      EXPECT_EQ(written, row[1]) << name << " of " << shown(text);
      const std::vector<Piece> untraced = pieces_of(pre_tokenizer, text, Trace::off);
      ASSERT_EQ(untraced.size(), found.size());
      size_t n_bytes = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(untraced[i].text, found[i].text);
        n_bytes += found[i].text.size();
      }
      EXPECT_LE(n_bytes,
                2 * pre_tokenizer.size_bound(text.size()));  // two bytes for a letter of the alphabet
    }
  }
}

TEST(PreTokenizerVectors, GiveTheLibrarysPiecesForEveryCodePoint) {
  size_t n_cases = 0;
  for (const json& sample : read_sample_json("pre_tokenizers.json.zst")) {
    if (sample["codepoints"].empty()) continue;
    ++n_cases;
    const PreTokenizer pre_tokenizer(read_pre_tokenizer(Definition(sample["pre_tokenizer"]).node()));
    for (const auto& [expected, ranges] : sample["codepoints"].items()) {
      const std::vector<bool> set = set_of(ranges);
      size_t n_wrong = 0;
      each_codepoint([&](char32_t c) {
        if (!set[c]) return;
        const std::string letter = one(c);
        std::string written;
        pre_tokenizer.split({"a" + letter + "1"}, Trace::off, [&](const TextPiece& piece) {
          written += written.empty() ? "" : "\x1f";
          for (size_t at = 0; at < piece.text.size(); ++at) {
            const bool is_it = piece.text.substr(at, letter.size()) == letter;
            written += is_it ? '@' : piece.text[at];
            if (is_it) at += letter.size() - 1;
          }
        });
        if (written == expected || ++n_wrong > 5) return;
        ADD_FAILURE() << sample["pre_tokenizer"].dump() << ": U+" << std::hex << static_cast<uint32_t>(c)
                      << ": " << written << ", the library: " << expected;
      });
      EXPECT_EQ(n_wrong, 0u);
    }
  }
  EXPECT_EQ(n_cases, 5u);
}

// U+1171E is a nonspacing mark up to Unicode 15 and a spacing one from 16 on: here it is both.
bool is_of_two_categories(char32_t c) { return c == 0x1171e; }

TEST(RegexSets, AreTheLibrarysForEveryCodePoint) {
  const json sets = read_sample_json("regex_sets.json.zst");
  EXPECT_GE(sets.size(), 60u);
  for (const auto& [pattern, ranges] : sets.items()) {
    const RegularExpression expression(pattern);
    RegexSearch search(expression);
    const std::vector<bool> expected = set_of(ranges);
    size_t n_wrong = 0;
    each_codepoint([&](char32_t c) {
      const std::string letter = one(c);
      search.start(letter);
      size_t begin = 0, end = 0;
      if (search.find(0, begin, end) == expected[c] || is_of_two_categories(c) || ++n_wrong > 5) return;
      ADD_FAILURE() << pattern << ": U+" << std::hex << static_cast<uint32_t>(c)
                    << ", the library: " << expected[c];
    });
    EXPECT_EQ(n_wrong, 0u) << pattern;
  }
}

}  // namespace
}  // namespace nanochat
