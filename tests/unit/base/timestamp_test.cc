#include "base/timestamp.h"

#include <cstdint>
#include <ctime>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"

namespace nanochat {
namespace {

TEST(Timestamp, IsUtcToTheMillisecond) {
  EXPECT_EQ(utc_timestamp(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(utc_timestamp(1767441600250), "2026-01-03T12:00:00.250Z");
  EXPECT_EQ(utc_timestamp(951827696007), "2000-02-29T12:34:56.007Z");
  EXPECT_EQ(utc_timestamp(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(utc_file_stamp(1767441600250), "20260103T120000.250Z");
}

TEST(Timestamp, StaysWithinFourDigitsOfAYear) {
  EXPECT_EQ(utc_timestamp(std::numeric_limits<int64_t>::max()), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(utc_timestamp(std::numeric_limits<int64_t>::min()), "0000-01-01T00:00:00.000Z");
}

TEST(Timestamp, AgreesWithTheCalendarOfTheSystem) {
  const CounterRandom random(1, 0);
  for (uint64_t i = 0; i < 2000; ++i) {
    const auto seconds = static_cast<time_t>(random.bits(i) % 8'000'000'000) - 1'000'000'000;
    std::tm broken_down = {};
    ASSERT_NE(gmtime_r(&seconds, &broken_down), nullptr);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &broken_down);
    EXPECT_EQ(utc_timestamp(int64_t{seconds} * 1000 + 7), std::string(text) + ".007Z");
  }
}

TEST(Timestamp, NowIsBetweenTheSecondsAroundIt) {
  const int64_t before = int64_t{std::time(nullptr)} * 1000;
  const int64_t now = unix_milliseconds();
  EXPECT_GE(now, before - 1000);
  EXPECT_LE(now, before + 60'000);
}

}  // namespace
}  // namespace nanochat
