#include "io/json_line.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace nanochat {
namespace {

std::string text_of(std::string_view line, std::string_view field = "text") {
  std::string buffer;
  return std::string(
      json_string_member(line, field, buffer, [] { return std::string("corpus.jsonl: line 7"); }));
}

std::string refusal(std::string_view line, std::string_view field = "text") {
  try {
    return "accepted: " + text_of(line, field);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::format_invalid);
    EXPECT_EQ(error.subject(), "corpus.jsonl: line 7");
    return error.message();
  }
}

TEST(JsonLine, GivesTheStringOfTheMember) {
  EXPECT_EQ(text_of(R"({"text":"hello"})"), "hello");
  EXPECT_EQ(text_of(R"( { "id" : 12, "text" : "a b" , "x":-0.5,"t":true,"n":null } )"), "a b");
  EXPECT_EQ(text_of(R"({"text":"last","more":"a\nb"})"), "last");
  EXPECT_EQ(text_of(R"({"text":"tab\tquote\" \/ back\\ \b\f\n\r","z":"\t\t"})"),
            "tab\tquote\" / back\\ \b\f\n\r");
  EXPECT_EQ(text_of(R"({"text":"\u0041\u00e9\u20ac\ud83d\ude00."})"),
            "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.");
  EXPECT_EQ(text_of("{\"text\":\"na\xc3\xafve \xf0\x9f\x98\x80\"}"), "na\xc3\xafve \xf0\x9f\x98\x80");
  EXPECT_EQ(text_of(R"({"text":""})"), "");
  EXPECT_EQ(text_of(R"({"m":{"text":"inner"},"list":[1,{"a":"b"}],"text":"outer"})"), "outer");
  EXPECT_EQ(text_of(R"({"a":1e5,"b":123456789012345678901234567890,"te\u0078t":"escaped key"})"),
            "escaped key");
  EXPECT_EQ(text_of(R"({"body":"x"})", "body"), "x");
}

TEST(JsonLine, RefusesLinesWithoutTheMember) {
  EXPECT_EQ(refusal("[1]"),
            "corpus.jsonl: line 7: expected an object with the text in \"text\", found array");
  EXPECT_EQ(refusal(R"({"txt":"a"})"),
            "corpus.jsonl: line 7: expected an object with the text in \"text\", found no such member");
  EXPECT_EQ(refusal(R"({"text":5})"),
            "corpus.jsonl: line 7: expected an object with the text in \"text\", found number there");
}

// What parse_json() says of each line, with and without the short cut.
TEST(JsonLine, AcceptsAndRefusesAsTheParserDoes) {
  const char* const lines[] = {R"({"text":"a")",
                               R"({"text":"a"}})",
                               R"({"text":"a",})",
                               R"({"text":"a" "b":1})",
                               R"({"text":"a\x"})",
                               R"({"text":"\ud83d"})",
                               R"({"text":"\ude00"})",
                               R"({"text":"\ud83dx"})",
                               R"({"text":"\u12"})",
                               R"({"text":"\u0000"})",
                               R"({"text":"a","text":"b"})",
                               R"({"a":1,"text":"x","a":2})",
                               R"({"a":01,"text":"x"})",
                               R"({"a":1.,"text":"x"})",
                               R"({"a":-,"text":"x"})",
                               R"({"a":+1,"text":"x"})",
                               R"({"a":1e,"text":"x"})",
                               R"({"a":tru,"text":"x"})",
                               R"({"a":nulll,"text":"x"})",
                               R"({text:"x"})",
                               R"({'text':"x"})",
                               R"({"text":"x"} y)",
                               R"({"text":'x'})",
                               R"({"text"})",
                               "{\"text\":\"\xff\"}",
                               "{\"text\":\"\xed\xa0\x80\"}",
                               "{\"text\":\"a\tb\"}",
                               "{\"\xff\":1,\"text\":\"x\"}",
                               "",
                               "{",
                               "{\"text\":\"",
                               "\xef\xbb\xbf{\"text\":\"bom\"}",
                               R"({"a":1e999,"text":"x"})",
                               R"({"a":"\ud800","text":"x"})",
                               R"({"a":-0,"text":"x"})",
                               R"({"a":0.5e-3,"text":"x"})"};
  for (const std::string line : lines) {
    std::string expected;
    try {
      const Json document = parse_json(line, "corpus.jsonl: line 7");
      expected = "accepted: " + document.at("text").get<std::string>();
    } catch (const Error& error) {
      expected = error.message();
    }
    EXPECT_EQ(refusal(line), expected) << line;
  }
}

// Every document of the suite as the value of another member.
TEST(JsonLine, JudgesTheJsonTestSuiteAsTheParserDoes) {
  std::ifstream in(std::string(NANOCHAT_TEST_DATA) + "/json/json_test_suite.txt");
  size_t n = 0;
  for (std::string packed; std::getline(in, packed); ++n) {
    std::string value = packed.substr(packed.find('\t') + 1);
    for (size_t at = 0; (at = value.find("\\x", at)) != std::string::npos; ++at) {
      value.replace(at, 4, 1, static_cast<char>(std::stoi(value.substr(at + 2, 2), nullptr, 16)));
    }
    if (value.find('\n') != std::string::npos) continue;
    const std::string line = "{\"a\":" + value + ",\"text\":\"x\"}";
    std::string expected = "accepted: x";
    try {
      parse_json(line, "corpus.jsonl: line 7");
    } catch (const Error& error) {
      expected = error.message();
    }
    EXPECT_EQ(refusal(line), expected) << packed;
  }
  EXPECT_GT(n, 300u);
}

}  // namespace
}  // namespace nanochat
