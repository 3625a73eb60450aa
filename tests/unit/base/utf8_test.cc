#include "base/utf8.h"

#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "base/file.h"

namespace nanochat {
namespace {

const std::string kFolder = NANOCHAT_TEST_DATA "/utf8/";

std::string from_hex(const std::string& hex) {
  std::string bytes, digits;
  for (const char c : hex) {
    if (c == ' ') continue;
    digits += c;
    if (digits.size() < 2) continue;
    bytes += static_cast<char>(std::stoi(digits, nullptr, 16));
    digits.clear();
  }
  return bytes;
}

// A case of utf8tests.txt: "name:valid:text", "name:valid hex:bytes" or "name:invalid
// hex:bytes:skipped:replaced".
struct Utf8Case {
  std::string name, bytes, replaced;
  bool valid = false;
};

std::string field_bytes(const std::string& field) { return field == "nothing" ? "" : from_hex(field); }

std::vector<Utf8Case> read_cases() {
  std::vector<Utf8Case> cases;
  std::istringstream file(read_file(kFolder + "utf8tests.txt"));
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> fields;
    std::istringstream stream(line);
    for (std::string field; std::getline(stream, field, ':');) fields.push_back(field);
    if (fields[1] == "valid") cases.push_back({fields[0], fields[2], fields[2], true});
    if (fields[1] == "valid hex")
      cases.push_back({fields[0], from_hex(fields[2]), from_hex(fields[2]), true});
    if (fields[1] == "invalid hex") {
      cases.push_back({fields[0], from_hex(fields[2]), field_bytes(fields.at(4)), false});
    }
  }
  return cases;
}

// The definition, written out: a set of all well-formed sequences' beginnings, from the arithmetic of the
// encoding.
std::string encode(uint32_t codepoint) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 + (codepoint >> shift) % 64); };
  const auto byte = [](uint32_t value) { return static_cast<char>(value); };
  if (codepoint < 0x80) return {byte(codepoint)};
  if (codepoint < 0x800) return {byte(0xC0 + codepoint / 64), tail(0)};
  if (codepoint < 0x10000) return {byte(0xE0 + codepoint / 4096), tail(6), tail(0)};
  return {byte(0xF0 + codepoint / 262144), tail(12), tail(6), tail(0)};
}

struct WellFormed {
  std::set<std::string> sequences, beginnings;
  WellFormed() {
    for (uint32_t codepoint = 0; codepoint <= 0x10FFFF; ++codepoint) {
      if (codepoint >= 0xD800 && codepoint <= 0xDFFF) continue;
      // Only tails at the edges of the ranges matter here; the rest is the same to the decoder.
      const uint32_t low = codepoint % 64;
      if (codepoint >= 0x800 && (low + 1) % 16 > 1) continue;
      const std::string text = encode(codepoint);
      sequences.insert(text);
      for (size_t length = 1; length < text.size(); ++length) beginnings.insert(text.substr(0, length));
    }
  }
};

TEST(Utf8, AgreesWithThePublishedCases) {
  const auto cases = read_cases();
  EXPECT_GT(cases.size(), 100u);
  for (const Utf8Case& test : cases) {
    EXPECT_EQ(is_valid_utf8(test.bytes), test.valid) << test.name;
    EXPECT_EQ(replace_invalid_utf8(test.bytes), test.replaced) << test.name;
  }
}

TEST(Utf8, ReplacesLikePythonOnRandomBytes) {
  EXPECT_EQ(replace_invalid_utf8(read_file(kFolder + "stress.bin")),
            read_file(kFolder + "stress.replaced.txt"));
}

TEST(Utf8, EncodesAndDecodesEveryCodepoint) {
  for (uint32_t codepoint = 0; codepoint <= 0x10FFFF; ++codepoint) {
    if (codepoint >= 0xD800 && codepoint <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, codepoint);
    ASSERT_EQ(text, encode(codepoint));
    const DecodedCodepoint decoded = decode_utf8(text, 0);
    ASSERT_TRUE(decoded.valid && decoded.codepoint == codepoint && decoded.length == text.size())
        << codepoint;
  }
}

TEST(Utf8, AppendsAReplacementForWhatIsNotACharacter) {
  for (const char32_t codepoint : {0xD800u, 0xDFFFu, 0x110000u, 0xFFFFFFFFu}) {
    std::string text;
    append_utf8(text, codepoint);
    EXPECT_EQ(text, "\xEF\xBF\xBD") << static_cast<uint32_t>(codepoint);
  }
}

TEST(Utf8, ConsumesTheMaximalSubpartOfEverySequenceOfEdgeBytes) {
  const WellFormed oracle;
  const std::string edges =
      from_hex("00 7F 80 8F 90 9F A0 BF C0 C1 C2 DF E0 E1 EC ED EE EF F0 F1 F3 F4 F5 FF");
  std::string text(4, '\0');
  const size_t n = edges.size();
  for (size_t i = 0; i < n * n * n * n; ++i) {
    text[0] = edges[i % n];
    text[1] = edges[i / n % n];
    text[2] = edges[i / n / n % n];
    text[3] = edges[i / n / n / n];
    size_t length = 0, longest_beginning = 1;
    for (size_t k = 1; k <= 4; ++k) {
      const std::string head = text.substr(0, k);
      if (oracle.sequences.count(head) != 0) length = k;
      if (oracle.beginnings.count(head) != 0) longest_beginning = k;
    }
    const DecodedCodepoint decoded = decode_utf8(text, 0);
    ASSERT_EQ(decoded.valid, length != 0) << testing::PrintToString(text);
    ASSERT_EQ(decoded.length, length != 0 ? length : longest_beginning) << testing::PrintToString(text);
  }
}

TEST(Utf8, FindsTheFirstInvalidByteBehindLongValidText) {
  for (size_t length = 0; length < 40; ++length) {
    const std::string text(length, 'x');
    EXPECT_EQ(first_invalid_utf8(text), length);
    EXPECT_EQ(first_invalid_utf8(text + "\xFF" + text), length);
    EXPECT_EQ(first_invalid_utf8(text + "\u00e9" + text), 2 * length + 2);
  }
}

TEST(Utf8, HoldsBackOnlyASequenceThatMoreBytesCouldComplete) {
  const std::string text = "a\u00e9\u20ac\U0001F600";
  const size_t starts[] = {0, 1, 3, 6, 10};
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    size_t whole = 0;
    for (const size_t start : starts) {
      if (start <= cut) whole = start;
    }
    EXPECT_EQ(complete_utf8_prefix(text.substr(0, cut)), whole) << cut;
  }
  EXPECT_EQ(complete_utf8_prefix("a\x80"), 2u);          // never valid: nothing to wait for
  EXPECT_EQ(complete_utf8_prefix("a\xED\xA0"), 3u);      // a surrogate
  EXPECT_EQ(complete_utf8_prefix("a\xF0\x9F\x98"), 1u);  // three of four
  EXPECT_EQ(complete_utf8_prefix("a\xF5"), 2u);
}

// Streaming text through complete_utf8_prefix gives the same as replacing in one go.
TEST(Utf8, GivesTheSameTextInPiecesAsInOneGo) {
  const std::string bytes = read_file(kFolder + "stress.bin");
  for (const size_t step : {1u, 2u, 3u, 7u}) {
    std::string pending, out;
    for (size_t i = 0; i < bytes.size(); i += step) {
      pending += bytes.substr(i, step);
      const size_t whole = complete_utf8_prefix(pending);
      out += replace_invalid_utf8(std::string_view(pending).substr(0, whole));
      pending.erase(0, whole);
    }
    EXPECT_EQ(out + replace_invalid_utf8(pending), read_file(kFolder + "stress.replaced.txt")) << step;
  }
}

}  // namespace
}  // namespace nanochat
