#include "encoder/time_point.h"

#include <charconv>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

constexpr double kMost = 0x1p53;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Walks a text of RFC 3339; whatever does not fit is told with its place.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) : text_(text) {}

  TimePoint read() {
    const int64_t days = read_date();
    if (!skip('T') && !skip('t') && !skip(' ')) refuse("expected 'T' after the date");
    TimePoint time = read_time();
    time.seconds += days * 86400 - read_offset();
    if (at_ != text_.size()) refuse("expected the end");
    return time;
  }

 private:
  [[noreturn]] void refuse(std::string_view reason) const {
    throw Error(Status::invalid_argument)
        .subject("time")
        .hint("write 2026-01-03T12:00:00Z, or a number")
        .say("'{}' is no RFC 3339 time: at character {}, {}", excerpt(text_, 80), at_, reason);
  }

  bool skip(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  int number(size_t n_digits, int smallest, int largest, std::string_view name) {
    int value = 0;
    const size_t start = at_;
    for (size_t i = 0; i < n_digits; ++i, ++at_) {
      if (at_ >= text_.size() || !is_digit(text_[at_])) {
        refuse(format_text("expected the {} digits of the {}", n_digits, name));
      }
      value = 10 * value + (text_[at_] - '0');
    }
    if (value < smallest || value > largest) {
      at_ = start;
      refuse(format_text("the {} is {}, expected {} to {}", name, value, smallest, largest));
    }
    return value;
  }

  // Days after 1970-01-01 in the Gregorian calendar, also before it was introduced.
  int64_t read_date() {
    const int year = number(4, 0, 9999, "year");
    if (!skip('-')) refuse("expected '-' after the year");
    const int month = number(2, 1, 12, "month");
    if (!skip('-')) refuse("expected '-' after the month");
    const std::chrono::year_month first = std::chrono::year(year) / month;
    const auto last =
        static_cast<unsigned>(std::chrono::year_month_day_last(first / std::chrono::last).day());
    const int day = number(2, 1, static_cast<int>(last), "day");
    return std::chrono::sys_days(first / day).time_since_epoch().count();
  }

  TimePoint read_time() {
    const int hour = number(2, 0, 23, "hour");
    if (!skip(':')) refuse("expected ':' after the hour");
    const int minute = number(2, 0, 59, "minute");
    if (!skip(':')) refuse("expected ':' after the minute");
    const int second = number(2, 0, 60, "second");
    int64_t nanoseconds = 0;
    if (skip('.')) {
      int64_t unit = 100'000'000;
      if (at_ >= text_.size() || !is_digit(text_[at_])) refuse("expected a digit after the point");
      for (; at_ < text_.size() && is_digit(text_[at_]); ++at_, unit /= 10) {
        nanoseconds += (text_[at_] - '0') * unit;
      }
    }
    return {hour * 3600 + minute * 60 + second, static_cast<double>(nanoseconds) / 1e9};
  }

  int64_t read_offset() {
    if (skip('Z') || skip('z')) return 0;
    const bool is_west = skip('-');
    if (!is_west && !skip('+')) refuse("expected 'Z' or an offset such as +01:00");
    const int hours = number(2, 0, 23, "offset's hour");
    if (!skip(':')) refuse("expected ':' in the offset");
    const int64_t seconds = hours * 3600 + number(2, 0, 59, "offset's minute") * 60;
    return is_west ? -seconds : seconds;
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

}  // namespace

TimePoint time_point_of(double number) {
  if (!std::isfinite(number)) {
    throw Error(Status::invalid_argument)
        .subject("time")
        .say("the number is {}, expected a finite one", number);
  }
  if (std::abs(number) > kMost) {
    throw Error(Status::out_of_range)
        .subject("time")
        .say("the number is {}, expected {} to {}", number, -kMost, kMost);
  }
  const double whole = std::floor(number);
  return {static_cast<int64_t>(whole), number - whole};
}

TimePoint parse_time_point(std::string_view text) {
  const std::string_view inner = trimmed(text);
  double number = 0.0;
  const char* const end = inner.data() + inner.size();
  const auto [stop, failure] = std::from_chars(inner.data(), end, number);
  if (failure == std::errc() && stop == end) return time_point_of(number);
  return TimeReader(inner).read();
}

}  // namespace nanochat
