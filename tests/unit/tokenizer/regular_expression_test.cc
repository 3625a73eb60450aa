// Regular expressions as tokenizer.json files mean them. That they match what the library matches is the
// business of normalizer_vectors_test.cc.
#include "tokenizer/regular_expression.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace nanochat {
namespace {

using Matches = std::vector<std::string>;

Matches matches(const std::string& pattern, const std::string& text) {
  const RegularExpression expression(pattern);
  RegexSearch search(expression);
  search.start(text);
  Matches found;
  size_t begin = 0, end = 0;
  while (search.next(begin, end)) found.push_back(text.substr(begin, end - begin));
  return found;
}

// What the library makes of each was found by running it.
TEST(RegularExpression, MeansWhatItMeansInOniguruma) {
  EXPECT_EQ(matches("a$", "a\na"), (Matches{"a", "a"}));
  EXPECT_EQ(matches("^b", "a\nb\n"), (Matches{"b"}));
  EXPECT_EQ(matches(R"(a\z)", "a\n"), Matches{});
  EXPECT_EQ(matches(R"(a\Z)", "a\n"), (Matches{"a"}));
  EXPECT_EQ(matches(".", "a\nb\r"), (Matches{"a", "b", "\r"}));
  EXPECT_EQ(matches("(?m).", "a\n"), (Matches{"a", "\n"}));
  EXPECT_EQ(matches("a{1,2}+b", "aaaaab"), (Matches{"aaaaab"}));
  EXPECT_EQ(matches("a{2}+", "aaaaa"), (Matches{"aaaa"}));
  EXPECT_EQ(matches("a{2}?b", "ab aab"), (Matches{"b", "aab"}));
  EXPECT_EQ(matches("a{,2}b", "aab"), (Matches{"aab"}));
  EXPECT_EQ(matches("a{,}", "a{,}"), (Matches{"a{,}"}));
  EXPECT_EQ(matches("a{", "a{"), (Matches{"a{"}));
  EXPECT_EQ(matches("a++ab", "aaab"), Matches{});
  EXPECT_EQ(matches("a+*b", "aab"), (Matches{"aab"}));
  EXPECT_EQ(matches("a{1,2}{2}", "aaaa"), (Matches{"aaaa"}));
  EXPECT_EQ(matches(R"(\h)", "g f 1"), (Matches{"f", "1"}));
  EXPECT_EQ(matches("[a-c&&b-d]+", "abcd"), (Matches{"bc"}));
  EXPECT_EQ(matches("[a[bc]]+", "abcd"), (Matches{"abc"}));
  EXPECT_EQ(matches("[^a[bc]]+", "abcd"), (Matches{"d"}));
  EXPECT_EQ(matches("[^a-z&&b]+", "ab1"), (Matches{"a", "1"}));
  EXPECT_EQ(matches("[]a]", "]a"), (Matches{"]", "a"}));
  EXPECT_EQ(matches("[]-a]", "]a^"), (Matches{"]", "a", "^"}));
  EXPECT_EQ(matches("[!--]", "-"), (Matches{"-"}));
  EXPECT_EQ(matches("[a-c-e]+", "abc-e"), (Matches{"abc-e"}));
  EXPECT_EQ(matches(R"([\w-]+)", "a-"), (Matches{"a-"}));
  EXPECT_EQ(matches(R"(\w[\w])", "\xc2\xb2\xc2\xb2 \xc2\xb2x"), (Matches{"\xc2\xb2x"}));
  EXPECT_EQ(matches("x(?i)b|c", "xB xC C"), (Matches{"xB", "xC"}));
  EXPECT_EQ(matches("(?:(?i)a)b", "AB Ab"), (Matches{"Ab"}));
  EXPECT_EQ(matches("(?x) a b # c", "ab"), (Matches{"ab"}));
  EXPECT_EQ(matches("(?x)[a b]", "a b"), (Matches{"a", " ", "b"}));
  EXPECT_EQ(matches("(?#c)a", "a"), (Matches{"a"}));
  EXPECT_EQ(matches(R"((?<n>a)\k<n>)", "aa"), (Matches{"aa"}));
  EXPECT_EQ(matches(R"((a)\1)", "aa"), (Matches{"aa"}));
  EXPECT_EQ(matches(R"(\q\i\_\/)", "qi_/"), (Matches{"qi_/"}));
  EXPECT_EQ(matches(R"(\x41\x{42}\u0043\0)", std::string("ABC\0", 4)), (Matches{std::string("ABC\0", 4)}));
  EXPECT_EQ(matches("(?i)k", "\xe2\x84\xaa"), (Matches{"\xe2\x84\xaa"}));
  EXPECT_EQ(matches(R"((?i)\p{Lu})", "aA"), (Matches{"A"}));
}

TEST(RegularExpression, GivesEmptyMatchesButNotWhereTheLastOneEnded) {
  EXPECT_EQ(matches("x*", "axb"), (Matches{
                                      "",
                                      "x",
                                      "",
                                  }));
  EXPECT_EQ(matches("", "\xc3\xa9z"), (Matches{"", "", ""}));
}

TEST(RegularExpression, TakesAByteThatIsNotUtf8ForAReplacementCharacter) {
  EXPECT_EQ(matches("b",
                    "\xff\xe2\x82"
                    "b\x80"),
            (Matches{"b"}));
  EXPECT_EQ(matches(R"([^\s\p{L}]+)",
                    "a\xff\xe2\x82"
                    "b\x80"),
            (Matches{"\xff\xe2\x82", "\x80"}));
  EXPECT_EQ(matches(R"(\p{L}.)",
                    "a\xff\xe2\x82"
                    "b\x80"),
            (Matches{"a\xff", "b\x80"}));
  EXPECT_EQ(matches("(?<=\xef\xbf\xbd).",
                    "\xff"
                    "ab"),
            (Matches{"a"}));
}

TEST(RegularExpression, RefusesByNameWhatItCannotMean) {
  for (const char* pattern :
       {R"(\X)", R"(\K)", R"(a\g<1>)", "(?~a)", "(?W:a)", "(*FAIL)", "(?(1)a|b)", "(?P<n>a)", "(?s).",
        R"(\101)", R"(\cA)", R"(\p{Klingon})", R"(\p{Word})", "[[:alpha:]]", "(?i)ss", "(?i)\xc3\x9f",
        "(?i)[\xc3\x80-\xc3\xbf]", "(?<=a+)d", "a{2,1}"}) {
    try {
      RegularExpression expression(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::format_unsupported) << pattern << ": " << error.message();
      EXPECT_NE(error.message().find(pattern), std::string::npos) << error.message();
    }
  }
  for (const char* pattern : {"(a", "a)", "[a", "[]", "*a", "a|*", "[z-a]", R"(\)", R"(\p{L)", "^*",
                              R"([a-\d])", "a\xff", R"(\x{110000})"}) {
    try {
      RegularExpression expression(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::format_invalid) << pattern << ": " << error.message();
    }
  }
}

TEST(RegularExpression, EndsAMatchThatTakesTooLongWithAnError) {
  const std::string text(40, 'a');
  EXPECT_THROW(matches("(a|a)*b\\d|x", text + "cb"), Error);
}

TEST(RegularExpression, LooksAtALongTextOnce) {
  std::string text;
  for (int i = 0; i < 500000; ++i) text += "word\xff ";
  EXPECT_EQ(matches(R"(\p{L}+|\s)", text).size(), 1000000u);
}

}  // namespace
}  // namespace nanochat
