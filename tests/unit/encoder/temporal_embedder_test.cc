// E2, E3, E4: against exact values, by their properties, and what they refuse.
#include "encoder/temporal_embedder.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "encoder/portable_math.h"
#include "encoder/similarity.h"
#include "unit/encoder/embedder_data.h"

namespace nanochat::testing {
namespace {

using enum TemporalEmbedder;

std::vector<float> embed(TemporalEmbedder embedder, const TimePoint& time,
                         const TemporalOptions& options = {}) {
  std::vector<float> out(static_cast<size_t>(kTemporalWidth));
  embed_time(embedder, time, options, out);
  return out;
}

TimePoint at(double seconds) { return time_point_of(seconds); }

TEST(PortableMath, IsCloseToTheMathematicalFunctions) {
  for (int i = -4000; i <= 4000; ++i) {
    const double turns = i * 0.00137;
    const auto [sine, cosine] = sine_cosine_of_turns(turns);
    const long double angle = 2 * 3.14159265358979323846264338327950288L * static_cast<long double>(turns);
    EXPECT_NEAR(sine, static_cast<double>(std::sin(angle)), 5e-16) << turns;
    EXPECT_NEAR(cosine, static_cast<double>(std::cos(angle)), 5e-16) << turns;
  }
  for (int i = 0; i <= 40000; ++i) {
    const double x = i * 0.0255;
    const auto exact = static_cast<double>(std::exp2(static_cast<long double>(-x)));
    EXPECT_NEAR(exp2_of_negative(x), exact, 5e-16 * exact) << x;
  }
}

TEST(PortableMath, IsExactAtQuarterTurnsAndWholePowers) {
  for (const double turns : {0.0, 1.0, -3.0, 1048576.0}) {
    EXPECT_EQ(sine_cosine_of_turns(turns).sine, 0.0);
    EXPECT_EQ(sine_cosine_of_turns(turns).cosine, 1.0);
    EXPECT_EQ(sine_cosine_of_turns(turns + 0.25).sine, 1.0);
    EXPECT_EQ(sine_cosine_of_turns(turns + 0.5).cosine, -1.0);
    EXPECT_EQ(sine_cosine_of_turns(turns + 0.75).sine, -1.0);
  }
  EXPECT_EQ(exp2_of_negative(0.0), 1.0);
  EXPECT_EQ(exp2_of_negative(10.0), 0x1p-10);
  EXPECT_EQ(exp2_of_negative(1e300), 0.0);
}

TEST(TimePoint, ReadsRfc3339AndNumbers) {
  EXPECT_EQ(parse_time_point("2026-01-03T12:00:00Z"), (TimePoint{1767441600, 0.0}));
  EXPECT_EQ(parse_time_point(" 2026-01-03t13:30:00.25+01:30\n"), (TimePoint{1767441600, 0.25}));
  EXPECT_EQ(parse_time_point("2000-12-31 18:00:00-06:00"), (TimePoint{978307200, 0.0}));
  EXPECT_EQ(parse_time_point("1969-12-31T23:59:59.75z"), (TimePoint{-1, 0.75}));
  EXPECT_EQ(parse_time_point("2016-12-31T23:59:60Z"), parse_time_point("2017-01-01T00:00:00Z"));
  EXPECT_EQ(parse_time_point("2000-02-29T00:00:00Z").seconds, 951782400);
  EXPECT_EQ(parse_time_point("0000-01-01T00:00:00Z").seconds, -62167219200);
  EXPECT_EQ(parse_time_point("1e3"), (TimePoint{1000, 0.0}));
  EXPECT_EQ(parse_time_point("-0.25"), (TimePoint{-1, 0.75}));
  EXPECT_EQ(parse_time_point("2026"), (TimePoint{2026, 0.0}));
}

TEST(TimePoint, RefusesWhatIsNeitherAndSaysWhere) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "4 digits of the year"},
      {"now", "character 0"},
      {"2026-01-03", "expected 'T'"},
      {"2026-13-03T12:00:00Z", "month is 13, expected 1 to 12"},
      {"2026-02-29T12:00:00Z", "day is 29, expected 1 to 28"},
      {"2100-02-29T12:00:00Z", "day is 29, expected 1 to 28"},
      {"2026-01-00T12:00:00Z", "day is 0"},
      {"2026-01-03T24:00:00Z", "hour is 24, expected 0 to 23"},
      {"2026-01-03T12:60:00Z", "minute is 60"},
      {"2026-01-03T12:00:61Z", "second is 61, expected 0 to 60"},
      {"2026-01-03T12:00:00", "expected 'Z' or an offset"},
      {"2026-01-03T12:00:00.Z", "a digit after the point"},
      {"2026-01-03T12:00:00+0100", "expected ':' in the offset"},
      {"2026-01-03T12:00:00+24:00", "offset's hour is 24"},
      {"2026-01-03T12:00:00Zx", "expected the end"},
      {"nan", "finite"},
      {"-inf", "finite"},
  };
  for (const auto& [text, reason] : bad) {
    try {
      parse_time_point(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument) << text;
      EXPECT_NE(error.message().find(reason), std::string::npos) << text << ": " << error.message();
    }
  }
  EXPECT_THROW(parse_time_point("1e999"), Error);
  EXPECT_THROW(time_point_of(1e17), Error);
}

// The expected floats are the exact values, rounded once; near zeros of the sine doubles are off by some
// 1e-16.
void expect_exact(TemporalEmbedder embedder, const std::string& name, const TemporalOptions& options,
                  float tolerance) {
  const EmbedderData data;
  const std::vector<float> expected = data.floats(name);
  size_t row = 0;
  for (const Json& text : data.inputs["times"]) {
    const std::vector<float> actual = embed(embedder, parse_time_point(text.get<std::string>()), options);
    for (size_t i = 0; i < actual.size(); ++i) {
      const float wanted = expected[row * actual.size() + i];
      EXPECT_NEAR(actual[i], wanted, tolerance * std::abs(wanted) + 1e-15F)
          << name << " of " << text.get<std::string>() << ", value " << i;
    }
    ++row;
  }
  EXPECT_EQ(row * static_cast<size_t>(kTemporalWidth), expected.size());
}

TEST(TemporalEmbedders, EqualTheExactValues) {
  constexpr float kUlp = 1.3e-7F;
  expect_exact(recent, "recent", {}, kUlp);
  expect_exact(periodic, "periodic", {}, kUlp);
  expect_exact(positional, "positional", {}, kUlp);
  expect_exact(recent, "recent_now", {parse_time_point("2026-01-04T00:00:00Z")}, kUlp);
}

// What other machines must give, to the bit.
TEST(TemporalEmbedders, GiveTheseBitsEverywhere) {
  std::vector<float> all;
  for (const TemporalEmbedder embedder : {recent, periodic, positional}) {
    for (const double time : {0.0, 1767441600.0, -12345.678, 3e9, 0.1}) {
      const std::vector<float> row = embed(embedder, at(time));
      all.insert(all.end(), row.begin(), row.end());
    }
  }
  EXPECT_EQ(hash128(std::as_bytes(std::span<const float>(all))).hex(), "8a018f4cae16be3a0afda22071481d16");
}

TEST(TemporalEmbedders, GiveVectorsOfLengthOne) {
  for (const TemporalEmbedder embedder : {recent, periodic, positional}) {
    for (const double time : {0.0, 1767441600.0, 4102444800.0, 5e9, -6e10, 0.25}) {
      const std::vector<float> row = embed(embedder, at(time));
      EXPECT_NEAR(dot_product(row, row), 1.0, 1e-6);
    }
  }
}

TEST(RecentEmbedder, SimilarityFallsWithTheRatioOfAges) {
  const TemporalOptions now{at(2e9)};
  for (const double age : {10.0, 3600.0, 86400.0, 3e7}) {
    const std::vector<float> here = embed(recent, at(2e9 - age), now);
    double last_older = 1.0, last_newer = 1.0;
    for (double factor = 1.5; factor < 60.0; factor *= 1.5) {
      const double older = cosine_similarity(here, embed(recent, at(2e9 - age * factor), now));
      const double newer = cosine_similarity(here, embed(recent, at(2e9 - age / factor), now));
      EXPECT_LT(older, last_older) << age << " x " << factor;
      EXPECT_LT(newer, last_newer) << age << " / " << factor;
      last_older = older;
      last_newer = newer;
    }
  }
}

TEST(RecentEmbedder, TakesTheFutureForThePresent) {
  const TemporalOptions now{at(1000.0)};
  EXPECT_TRUE(same_bits(embed(recent, at(1000.0), now), embed(recent, at(5000.0), now)));
  EXPECT_FALSE(same_bits(embed(recent, at(1000.0), now), embed(recent, at(999.0), now)));
}

TEST(RecentEmbedder, RefusesAgesThatItCannotTellApart) {
  EXPECT_THROW(embed(recent, at(-1e12), {at(1.0)}), Error);
  embed(recent, at(1.0 - 1e12), {at(1.0)});
}

TEST(PeriodicEmbedder, SimilarityFallsThroughHalfAPeriodAndComesBack) {
  // The part of the vector that belongs to one period alone.
  const std::pair<size_t, double> periods[] = {
      {0, 60.0}, {1, 3600.0}, {2, 86400.0}, {3, 604800.0}, {6, 31556952.0}};
  for (const auto& [index, period] : periods) {
    const auto part = [&](double time) {
      const std::vector<float> row = embed(periodic, at(time));
      return std::vector<float>(row.begin() + static_cast<ptrdiff_t>(64 * index),
                                row.begin() + static_cast<ptrdiff_t>(64 * index + 64));
    };
    const double start = 1767441600.0;
    double last = 1.1;
    for (int i = 0; i <= 16; ++i) {
      const double similarity = cosine_similarity(part(start), part(start + i * period / 32));
      EXPECT_LT(similarity, last) << period << " at " << i << "/32";
      last = similarity;
      EXPECT_NEAR(similarity, cosine_similarity(part(start), part(start - i * period / 32)), 1e-6);
    }
    EXPECT_NEAR(cosine_similarity(part(start), part(start + 7 * period)), 1.0, 1e-6);
  }
}

TEST(PeriodicEmbedder, ADayLaterIsMoreAlikeThanTwelveHoursLater) {
  const std::vector<float> noon = embed(periodic, parse_time_point("2026-01-03T12:00:00Z"));
  const auto to = [&](const char* time) {
    return cosine_similarity(noon, embed(periodic, parse_time_point(time)));
  };
  EXPECT_GT(to("2026-01-04T12:00:00Z"), to("2026-01-04T00:00:00Z"));
  EXPECT_GT(to("2026-01-10T12:00:00Z"), to("2026-01-07T00:00:00Z"));
}

TEST(PositionalEmbedder, SimilarityDependsOnTheDistanceAloneAndFallsNearby) {
  double last = 1.1;
  for (int distance = 0; distance <= 4; ++distance) {
    const double here = cosine_similarity(embed(positional, at(100)), embed(positional, at(100 + distance)));
    const double there = cosine_similarity(embed(positional, at(1e9)), embed(positional, at(1e9 + distance)));
    EXPECT_NEAR(here, there, 1e-6);
    EXPECT_LT(here, last);
    last = here;
  }
  EXPECT_LT(cosine_similarity(embed(positional, at(0)), embed(positional, at(5000))), 0.3);
}

TEST(PositionalEmbedder, IsTheSinusoidOfTransformers) {
  const std::vector<float> row = embed(positional, at(511));
  for (size_t i = 0; i < 256; ++i) {
    const double angle = 511.0 / std::pow(10000.0, 2.0 * static_cast<double>(i) / 512.0);
    EXPECT_NEAR(16 * row[2 * i], std::sin(angle), 1e-6);
    EXPECT_NEAR(16 * row[2 * i + 1], std::cos(angle), 1e-6);
  }
}

TEST(TemporalEmbedders, RefuseTimesOutOfRange) {
  EXPECT_THROW(embed(periodic, at(1e13)), Error);
  EXPECT_THROW(embed(positional, TimePoint{(int64_t{1} << 53) + 1, 0.0}), Error);
  EXPECT_THROW(embed(recent, TimePoint{std::numeric_limits<int64_t>::min(), 0.0}), Error);
  EXPECT_THROW(embed(recent, at(0.0), {TimePoint{std::numeric_limits<int64_t>::max(), 0.0}}), Error);
  embed(positional, TimePoint{-(int64_t{1} << 53), 0.0});
}

}  // namespace
}  // namespace nanochat::testing
