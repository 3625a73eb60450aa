#include "base/error.h"

#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/cancel.h"
#include "base/checked.h"
#include "base/json.h"
#include "base/log.h"

namespace nanochat {
namespace {

TEST(FormatText, ReplacesEachBraceByTheNextArgument) {
  EXPECT_EQ(format_text("a {} b {} c", 1, "x"), "a 1 b x c");
  EXPECT_EQ(format_text("{} {}", "only one"), "only one {}");
  EXPECT_EQ(format_text("{}", "{}"), "{}");
  EXPECT_EQ(format_text("{} {}", "{}", 7), "{} 7");
  EXPECT_EQ(format_text("{} {}", std::numeric_limits<int64_t>::min(), ~uint64_t{0}),
            "-9223372036854775808 18446744073709551615");
  EXPECT_EQ(format_text("{} {}", 0.1, 1e300), "0.1 1e+300");
  EXPECT_EQ(format_text("{} {}", std::vector<int64_t>{2, -3}, std::vector<int64_t>{}), "[2,-3] []");
}

TEST(Error, CarriesWhatIsKnown) {
  const Error inner = Error(Status::file_io).say("cannot read");
  const Error error = Error(Status::format_invalid)
                          .subject("model.safetensors")
                          .say("tensor '{}': shape {}", "w", std::vector<int64_t>{1, 2})
                          .hint("convert it again")
                          .os_code(5)
                          .cause(inner);
  EXPECT_EQ(error.status(), Status::format_invalid);
  EXPECT_EQ(error.subject(), "model.safetensors");
  EXPECT_STREQ(error.what(), "tensor 'w': shape [1,2]");
  EXPECT_EQ(error.hint(), "convert it again");
  EXPECT_EQ(error.os_code(), 5);
  ASSERT_NE(error.cause(), nullptr);
  EXPECT_EQ(error.cause()->message(), "cannot read");
}

TEST(Error, WritesEveryFieldAsValidJson) {
  const Error error = Error(Status::internal)
                          .field("number", int64_t{-5})
                          .field("large", ~uint64_t{0})
                          .field("fraction", 0.5)
                          .field("infinite", std::numeric_limits<double>::infinity())
                          .field("text", "quote \" backslash \\ line\n tab\t nul \x01")
                          .field("broken",
                                 "a\xFF"
                                 "b");
  const char* const expected[] = {"-5", "18446744073709551615", "0.5", "null"};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(error.fields()[i].json, expected[i]);
  EXPECT_EQ(parse_json(error.fields()[4].json, "field").get<std::string>(), error.fields()[4].text);
  EXPECT_EQ(parse_json(error.fields()[5].json, "field").get<std::string>(),
            "a\xEF\xBF\xBD"
            "b");
}

TEST(CheckedArithmetic, RefusesWhatWrapsAround) {
  uint64_t result = 0;
  EXPECT_TRUE(checked_multiply(uint64_t{1} << 32, (uint64_t{1} << 32) - 1, result));
  EXPECT_FALSE(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 32, result));
  EXPECT_FALSE(checked_add(~uint64_t{0}, 1, result));
  const std::vector<int64_t> fits = {3, 4}, negative = {3, -4}, large = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_TRUE(checked_element_count(fits, result));
  EXPECT_EQ(result, 12u);
  EXPECT_FALSE(checked_element_count(negative, result));
  EXPECT_FALSE(checked_element_count(large, result));
  EXPECT_TRUE(checked_element_count({}, result));
  EXPECT_EQ(result, 1u);
}

TEST(Watch, StopsForTheTokenAndForTheCallback) {
  CancelToken token;
  Watch watch;
  watch.report("load", 1, 2);
  watch.cancel = &token;
  watch.check();
  token.request();
  EXPECT_THROW(watch.check(), Error);
  token.reset();
  watch.on_progress = [](const Progress& progress) { return progress.done < 2; };
  watch.report("load", 1, 2);
  try {
    watch.report("load", 2, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::cancelled);
    EXPECT_EQ(error.message(), "stopped by the progress callback at load 2 of 2");
  }
}

TEST(Log, WritesLinesUpToItsLevel) {
  std::vector<std::string> lines;
  Log log([&](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::info);
  log.write(LogLevel::info, "{} of {}", 1, 2);
  log.write(LogLevel::debug, "not this");
  EXPECT_EQ(lines, std::vector<std::string>{"1 of 2"});
  EXPECT_FALSE(Log().enabled(LogLevel::error));
}

}  // namespace
}  // namespace nanochat
