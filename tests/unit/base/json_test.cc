#include "base/json.h"

#include <chrono>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {
namespace {

struct Document {
  std::string name, bytes;
};

int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

// The inverse of tests/tools/pack_json_test_suite.py.
std::string unescape(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\') {
      out += static_cast<char>(hex_digit(line[i + 2]) * 16 + hex_digit(line[i + 3]));
      i += 3;
    } else {
      out += line[i];
    }
  }
  return out;
}

std::string repeated(std::string_view piece, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += piece;
  return out;
}

std::vector<Document> json_test_suite() {
  std::vector<Document> documents;
  std::ifstream in(std::string(NANOCHAT_TEST_DATA) + "/json/json_test_suite.txt");
  for (std::string line; std::getline(in, line);) {
    const size_t tab = line.find('\t');
    documents.push_back({line.substr(0, tab), unescape(std::string_view(line).substr(tab + 1))});
  }
  documents.push_back({"n_structure_100000_opening_arrays.json", repeated("[", 100'000)});
  documents.push_back({"n_structure_open_array_object.json", repeated("[{\"\":", 50'000) + "\n"});
  return documents;
}

std::string refusal(std::string_view text, std::string_view name = "doc.json") {
  try {
    parse_json(text, name);
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::format_invalid)) << error.message();
    EXPECT_EQ(error.subject(), name);
    EXPECT_EQ(error.message().find(name), 0U) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "accepted: " << excerpt(text);
  return "";
}

TEST(Json, AcceptsAndRefusesWhatTheJsonTestSuiteSays) {
  size_t n_accepted = 0, n_refused = 0;
  for (const Document& document : json_test_suite()) {
    // Two valid documents have a key twice; we refuse that on purpose.
    const bool duplicate = document.name.find("duplicated_key") != std::string::npos;
    bool accepted = true;
    try {
      parse_json(document.bytes, document.name);
    } catch (const Error& error) {
      accepted = false;
      EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::format_invalid))
          << error.message();
      EXPECT_EQ(error.message().find(document.name), 0U) << error.message();
    }
    if (document.name[0] == 'y') {
      EXPECT_EQ(accepted, !duplicate) << document.name;
    } else if (document.name[0] == 'n') {
      EXPECT_FALSE(accepted) << document.name;
    }
    ++(accepted ? n_accepted : n_refused);
  }
  EXPECT_GE(n_accepted, 93U);
  EXPECT_GE(n_refused, 188U);
}

TEST(Json, WritesWhatItReads) {
  for (const Document& document : json_test_suite()) {
    if (document.name[0] != 'y' || document.name.find("duplicated_key") != std::string::npos) continue;
    const Json value = parse_json(document.bytes, document.name);
    EXPECT_EQ(parse_json(write_json(value), "again"), value) << document.name;
    EXPECT_EQ(parse_json(write_json(value, 2), "again"), value) << document.name;
  }
}

TEST(Json, KeepsTheOrderOfKeys) {
  const std::string text = R"({"z":1,"a":[true,null,{"y":-2,"b":2.5}],"m":"x"})";
  EXPECT_EQ(write_json(parse_json(text, "doc.json")), text);
}

TEST(Json, KeepsEveryInteger) {
  const std::string text = "[18446744073709551615,-9223372036854775808,0,-1]";
  const Json value = parse_json(text, "doc.json");
  EXPECT_EQ(value.at(0).get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(value.at(1).get<int64_t>(), INT64_MIN);
  EXPECT_EQ(write_json(value), text);
}

TEST(Json, NamesTheByteWhereTheTextGoesWrong) {
  EXPECT_NE(refusal("{\"a\": tru}").find("at byte 9 of 10"), std::string::npos);
  EXPECT_NE(refusal("").find("at byte 0 of 0"), std::string::npos);
  EXPECT_NE(refusal("[1,2").find("at byte 4 of 4"), std::string::npos);
  EXPECT_NE(refusal("{} {}").find("at byte 3 of 5"), std::string::npos);
  EXPECT_NE(refusal(std::string("[1]\0[2]", 7)).find("at byte 3 of 7"), std::string::npos);
}

TEST(Json, RefusesAKeyThatAppearsTwice) {
  EXPECT_NE(refusal(R"({"k":1,"k":1})").find("'k' appears twice"), std::string::npos);
  EXPECT_NE(refusal(R"({"k":1,"j":{},"\u006b":1})").find("'k' appears twice"), std::string::npos);
  EXPECT_NE(refusal(R"([{"a":{"x":1,"y":2,"x":3}}])").find("'x' appears twice"), std::string::npos);
  EXPECT_NO_THROW(parse_json(R"({"k":{"k":{"k":1}},"j":[{"k":1},{"k":1}],"K":0,"":1})", "doc.json"));
}

TEST(Json, RefusesMoreThan128Levels) {
  EXPECT_NO_THROW(parse_json(repeated("[", 128) + repeated("]", 128), "doc.json"));
  EXPECT_NE(refusal(repeated("[", 129) + repeated("]", 129)).find("deeper than 128"), std::string::npos);
  EXPECT_NE(refusal(repeated("{\"a\":", 129) + "1" + repeated("}", 129)).find("deeper than 128"),
            std::string::npos);
}

TEST(Json, RefusesInvalidUtf8InStringsAndKeys) {
  for (const char* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    refusal("\"" + std::string(bad) + "\"");
    refusal("{\"" + std::string(bad) + "\":1}");
  }
}

TEST(Json, RefusesExtensionsOfTheLanguage) {
  for (const char* text : {"NaN", "[Infinity]", "{a:1}", "{'a':1}", "[1,]", "{\"a\":1,}", "// c\n1",
                           "/* c */1", "01", "+1", "1e999", "0x10", "\"\t\"", "[.5]", "[5.]"}) {
    refusal(text);
  }
}

TEST(Json, SaysWhyInAShortPrintableSentence) {
  const std::string message = refusal("\"" + std::string(1'000'000, 'a') + "\xff\x01");
  EXPECT_LT(message.size(), 500U);
  for (const char c : message) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  EXPECT_EQ(message.find("json.exception"), std::string::npos) << message;
  const std::string key(1'000'000, 'k');
  EXPECT_LT(refusal("{\"" + key + "\":1,\"" + key + "\":2}").size(), 500U);
}

TEST(Json, ReplacesInvalidUtf8WhenWriting) { EXPECT_EQ(write_json(Json("a\xff")), "\"a\xef\xbf\xbd\""); }

// A cost that grew with the square of the number would exceed the time limit of the test program.
TEST(Json, ReadsAnObjectOf300ThousandKeys) {
  constexpr int kKeys = 300'000;
  std::string text = "{";
  for (int i = 0; i < kKeys; ++i) text += "\"token" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  text.back() = '}';
  const auto start = std::chrono::steady_clock::now();
  const Json value = parse_json(text, "doc.json");
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  RecordProperty("milliseconds", static_cast<int>(elapsed.count()));
  ASSERT_EQ(value.size(), static_cast<size_t>(kKeys));
  EXPECT_EQ(value.items().back().value, kKeys - 1);
}

TEST(JsonObject, HandsOutItsMembersInOrder) {
  std::vector<std::string> seen;
  parse_json_object(
      R"({"b":[1,{"x":2}],"a":{"k":{}},"c":3,"":null})", "doc.json",
      [&](const std::string& key, Json&& value) { seen.push_back(key + "=" + write_json(value)); });
  EXPECT_EQ(seen, (std::vector<std::string>{R"(b=[1,{"x":2}])", R"(a={"k":{}})", "c=3", "=null"}));
}

TEST(JsonObject, RefusesOtherDocumentsAndKeysThatAppearTwice) {
  const auto ignore = [](const std::string&, Json&&) {};
  for (const char* text : {"[]", "[{}]", "1", "null", "\"{}\"", "true", "{}{}", "{", R"({"a":1,"b":2,"a":3})",
                           R"({"a":{"b":1,"b":2}})"}) {
    EXPECT_THROW(parse_json_object(text, "doc.json", ignore), Error) << text;
  }
}

TEST(JsonObject, AgreesWithTheWholeDocument) {
  for (const Document& document : json_test_suite()) {
    Json collected = Json::object();
    bool accepted = true, expected = true;
    Json whole;
    try {
      whole = parse_json(document.bytes, document.name);
      expected = whole.is_object();
    } catch (const Error&) {
      expected = false;
    }
    try {
      parse_json_object(document.bytes, document.name,
                        [&](const std::string& key, Json&& value) { collected[key] = value; });
    } catch (const Error&) {
      accepted = false;
    }
    ASSERT_EQ(accepted, expected) << document.name;
    EXPECT_EQ(collected, accepted ? whole : collected) << document.name;
  }
}

}  // namespace
}  // namespace nanochat
