#include "encoder/temporal_embedder.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "encoder/portable_math.h"
#include "encoder/sinusoid_table.h"

namespace nanochat {

namespace {

constexpr double kMostSeconds = 1e12;
constexpr int64_t kMostPosition = int64_t{1} << 53;

// --- E2: 2^(-age / half-life), half-lives from a second to 2^32 seconds, evenly by their logarithm ---------

double age_of(const TimePoint& time, const TimePoint& reference) {
  const double age =
      static_cast<double>(reference.seconds - time.seconds) + (reference.fraction - time.fraction);
  if (age > kMostSeconds) {
    throw Error(Status::out_of_range)
        .subject("time")
        .say("the age is {} seconds, expected {} at most", age, kMostSeconds);
  }
  return std::max(age, 0.0);
}

void embed_recent(double age, std::span<float> target) {
  std::array<double, kTemporalWidth> values;
  double squares = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double rate = exp2_of_negative(32.0 * static_cast<double>(i) / 511.0);  // 1 / half-life
    values[i] = exp2_of_negative(age * rate);
    squares += values[i] * values[i];
  }
  const double length = std::sqrt(squares);  // the longest half-life keeps it above zero
  for (size_t i = 0; i < values.size(); ++i) target[i] = static_cast<float>(values[i] / length);
}

// --- E3: 32 harmonics of each of 8 periods; harmonic k has amplitude 1/k -----------------------------------

// Minute, hour, day, week; the mean Gregorian month, quarter, year and decade (400 years are 146097 days).
constexpr std::array<int64_t, 8> kPeriods = {60, 3600, 86400, 604800, 2629746, 7889238, 31556952, 315569520};
constexpr int kHarmonics = 32;

void embed_periodic(const TimePoint& time, std::span<float> target) {
  double squares = 0.0;
  for (int k = 1; k <= kHarmonics; ++k) squares += 1.0 / static_cast<double>(k * k);
  const double length = std::sqrt(8.0 * squares);
  size_t next = 0;
  for (const int64_t period : kPeriods) {
    const int64_t whole = (time.seconds % period + period) % period;
    const double phase = (static_cast<double>(whole) + time.fraction) / static_cast<double>(period);
    for (int k = 1; k <= kHarmonics; ++k) {
      const auto [sine, cosine] = sine_cosine_of_turns(phase * k);
      target[next++] = static_cast<float>(cosine / k / length);
      target[next++] = static_cast<float>(sine / k / length);
    }
  }
}

// --- E4: sines and cosines of 256 wavelengths from 2 pi to 2 pi 10000 --------------------------------------

void embed_positional(const TimePoint& position, std::span<float> target) {
  for (size_t i = 0; i < kSinusoidFrequencies.size(); ++i) {
    const uint64_t frequency = kSinusoidFrequencies[i];
    // Whole turns drop out of the product by themselves: it is taken modulo 2^64.
    const uint64_t phase = static_cast<uint64_t>(position.seconds) * frequency;
    const double turns = static_cast<double>(phase >> 11) * 0x1p-53 +
                         position.fraction * (static_cast<double>(frequency >> 11) * 0x1p-53);
    const auto [sine, cosine] = sine_cosine_of_turns(turns);
    target[2 * i] = static_cast<float>(sine / 16.0);
    target[2 * i + 1] = static_cast<float>(cosine / 16.0);
  }
}

void require_within(int64_t value, int64_t most) {
  if (value >= -most && value <= most) return;
  throw Error(Status::out_of_range)
      .subject("time")
      .say("the time is {}, expected {} to {}", value, -most, most);
}

}  // namespace

void embed_time(TemporalEmbedder embedder, const TimePoint& time, const TemporalOptions& options,
                std::span<float> target) {
  if (std::ssize(target) != kTemporalWidth) throw_internal("a temporal embedding has 512 values");
  require_within(time.seconds, kMostPosition);
  require_within(options.reference.seconds, kMostPosition);
  switch (embedder) {
    case TemporalEmbedder::recent:
      return embed_recent(age_of(time, options.reference), target);
    case TemporalEmbedder::periodic:
      require_within(time.seconds, static_cast<int64_t>(kMostSeconds));
      return embed_periodic(time, target);
    case TemporalEmbedder::positional:
      return embed_positional(time, target);
  }
  throw_internal("no such temporal embedder");
}

}  // namespace nanochat
