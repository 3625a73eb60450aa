#include "base/timestamp.h"

#include <algorithm>
#include <chrono>
#include <string_view>

namespace nanochat {

namespace {

struct Moment {
  int64_t year, month, day, hour, minute, second, millisecond;
};

// The calendar of std::chrono, which takes no lock and reads no time zone, as gmtime() may.
Moment moment_of(int64_t unix_ms) {
  using namespace std::chrono;
  constexpr auto kFirst = sys_days(year(0) / January / 1);
  constexpr auto kEnd = sys_days(year(10000) / January / 1);
  constexpr int64_t kFirstMs = milliseconds(kFirst.time_since_epoch()).count();
  constexpr int64_t kEndMs = milliseconds(kEnd.time_since_epoch()).count();
  const milliseconds since(std::clamp(unix_ms, kFirstMs, kEndMs - 1));
  const auto days_since = floor<days>(since);
  const year_month_day date{sys_days(days_since)};
  const hh_mm_ss time(since - days_since);
  return {int{date.year()},       unsigned{date.month()}, unsigned{date.day()},     time.hours().count(),
          time.minutes().count(), time.seconds().count(), time.subseconds().count()};
}

void append_padded(std::string& out, int64_t value, size_t n_digits) {
  const std::string digits = std::to_string(value);
  out.append(n_digits - std::min(n_digits, digits.size()), '0');
  out += digits;
}

std::string written(int64_t unix_ms, std::string_view in_date, std::string_view in_time) {
  const Moment moment = moment_of(unix_ms);
  std::string out;
  append_padded(out, moment.year, 4);
  out += in_date;
  append_padded(out, moment.month, 2);
  out += in_date;
  append_padded(out, moment.day, 2);
  out += 'T';
  append_padded(out, moment.hour, 2);
  out += in_time;
  append_padded(out, moment.minute, 2);
  out += in_time;
  append_padded(out, moment.second, 2);
  out += '.';
  append_padded(out, moment.millisecond, 3);
  return out += 'Z';
}

}  // namespace

int64_t unix_milliseconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::floor<std::chrono::milliseconds>(now).count();
}

std::string utc_timestamp(int64_t unix_ms) { return written(unix_ms, "-", ":"); }
std::string utc_file_stamp(int64_t unix_ms) { return written(unix_ms, "", ""); }

}  // namespace nanochat
