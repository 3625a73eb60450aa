#include "infer/calculator.h"

#include <random>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "infer/big_integer.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

std::string data_path(const char* name) { return std::string(NANOCHAT_TEST_DATA) + "/" + name; }

std::string shown(const std::optional<std::string>& result) { return result ? *result : "(no result)"; }

std::string repeated(std::string_view text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

TEST(Calculator, AnswersAsTheReferenceDoes) {
  const std::string path = data_path("golden/sampling/calculator.json");
  const json cases = json::parse(read_file(path));
  ASSERT_GT(cases.size(), 60u);
  for (const json& item : cases) {
    const std::string expression = item["expr"];
    const std::string expected = item["accepted"] ? item["result"].get<std::string>() : "(no result)";
    EXPECT_EQ(shown(use_calculator(expression)), expected) << expression;
  }
}

TEST(Calculator, AnswersAsPythonDoes) {
  std::istringstream lines(read_file(data_path("calculator/vectors.tsv")));
  size_t n_lines = 0;
  for (std::string line; std::getline(lines, line); ++n_lines) {
    const size_t tab = line.find('\t');
    const std::string expression = json::parse(line.substr(0, tab)).get<std::string>();
    const json expected = json::parse(line.substr(tab + 1));
    EXPECT_EQ(shown(use_calculator(expression)),
              expected.is_null() ? "(no result)" : expected.get<std::string>())
        << expression;
  }
  EXPECT_GT(n_lines, 1000u);
}

TEST(Calculator, RefusesExpressionsThatAreTooLongOrTooDeep) {
  EXPECT_EQ(use_calculator(repeated("(", 200) + "7" + repeated(")", 200)), "7");
  EXPECT_EQ(use_calculator(repeated("(", 201) + "7" + repeated(")", 201)), std::nullopt);
  EXPECT_EQ(use_calculator(repeated("(", 4096)), std::nullopt);
  EXPECT_EQ(use_calculator(repeated("-", 4095) + "7"), "-7");
  EXPECT_EQ(use_calculator(repeated("-", 4096) + "7"), std::nullopt);
  EXPECT_EQ(use_calculator("'" + repeated("a", 200) + "'.count(" + repeated("(", 3000) + "'a'"),
            std::nullopt);
  EXPECT_EQ(use_calculator(repeated("not ", 900) + "'a'.count('a')"), "True");
}

TEST(Calculator, KeepsEveryDigitOfWhatFitsInAnExpression) {
  EXPECT_EQ(use_calculator(repeated("9", 4094) + "+1"), "1" + repeated("0", 4094));
  const std::string nines = repeated("9", 2000);
  EXPECT_EQ(use_calculator(nines + "*" + nines), repeated("9", 1999) + "8" + repeated("0", 1999) + "1");
  EXPECT_EQ(use_calculator(nines + "0//" + nines), "10");
}

TEST(Calculator, NeverFailsOnRandomBytes) {
  std::mt19937_64 random(7);
  const std::string_view words[] = {"'",       "\"",
                                    ".count(", ")",
                                    "(",       "a",
                                    " ",       "not ",
                                    " and ",   " or ",
                                    "1",       "0.5",
                                    "...",     "//",
                                    "*",       "/",
                                    ".",       "+-",
                                    ",",       "True",
                                    "'''",     "_",
                                    "\0",      "\xff",
                                    "file",    "9999999999999999999",
                                    ".lower()"};
  for (int i = 0; i < 200000; ++i) {
    std::string text;
    const size_t length = random() % 24;
    for (size_t j = 0; j < length; ++j) {
      if (random() % 16 == 0)
        text += static_cast<char>(random());
      else
        text += words[random() % std::size(words)];
    }
    (void)use_calculator(text);
  }
}

TEST(BigInteger, DividesBackWhatItMultiplied) {
  std::mt19937_64 random(11);
  const auto random_integer = [&](size_t max_digits) {
    std::string digits(1 + random() % max_digits, '0');
    for (char& digit : digits) digit = random() % 3 == 0 ? '9' : static_cast<char>('0' + random() % 10);
    const BigInteger value = BigInteger::from_decimal(digits);
    return random() % 2 == 0 ? value : -value;
  };
  for (int i = 0; i < 3000; ++i) {
    const BigInteger a = random_integer(120), b = random_integer(60);
    if (b.is_zero()) continue;
    EXPECT_EQ((a * b).floor_divide(b).to_string(), a.to_string());
    const BigInteger rest = a - a.floor_divide(b) * b;  // 0 <= rest < b, or b < rest <= 0
    EXPECT_TRUE(rest.is_zero() || rest.is_negative() == b.is_negative())
        << a.to_string() << " " << b.to_string();
    EXPECT_NE((rest - b).is_negative(), b.is_negative()) << a.to_string() << " " << b.to_string();
  }
}

TEST(BigInteger, DividesByLimbsThatNeedTheRareCorrection) {
  // The first estimate of the quotient's limb is 4 here, and nothing shows that before the subtraction.
  const BigInteger two64 = BigInteger(uint64_t{1} << 32) * BigInteger(uint64_t{1} << 32);
  const BigInteger a = two64 * BigInteger(0x8000'0000u) + BigInteger(3);
  const BigInteger b = two64 * BigInteger(0x2000'0000u) + BigInteger(1);
  const BigInteger quotient = a.floor_divide(b);
  EXPECT_EQ(quotient.to_string(), "3");
  EXPECT_EQ((a - quotient * b).to_string(), (two64 * BigInteger(0x2000'0000u)).to_string());
}

}  // namespace
}  // namespace nanochat
