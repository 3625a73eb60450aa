// Moments as the temporal embedders take them: RFC 3339 texts or plain numbers.
#pragma once

#include <cstdint>
#include <string_view>

namespace nanochat {

// seconds + fraction after 1970-01-01T00:00:00Z, without leap seconds; of a position: the position.
struct TimePoint {
  int64_t seconds = 0;
  double fraction = 0.0;  // [0, 1)

  bool operator==(const TimePoint&) const = default;
};

// Exactly. Throws invalid_argument for what is not finite, out_of_range beyond +-2^53.
TimePoint time_point_of(double number);

// "2026-01-03T12:00:00Z", "2026-01-03 13:30:00.25+01:30" (RFC 3339: T or t or a space, Z or z or an offset,
// any number of decimals, of which nine count; the second 60 is the next minute's first), or a decimal number
// such as "1767441600" or "-3.5e2". Spaces around it are ignored. Throws invalid_argument naming the text and
// what is wrong.
TimePoint parse_time_point(std::string_view text);

}  // namespace nanochat
