#include "model/config_reader.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

bool read_integer(const Json& value, int64_t& integer) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
    integer = static_cast<int64_t>(number);
    return true;
  }
  if (!value.is_number_integer()) return false;
  integer = value.get<int64_t>();
  return true;
}

std::string shown(const Json& value) {
  if (value.is_object() || value.is_array()) {
    if (value.size() > 16) return format_text("{} of {} elements", value.type_name(), value.size());
  }
  return excerpt(write_json(value), 80);
}

}  // namespace

ConfigReader::ConfigReader(const Json& object, std::string_view file_name, std::string_view prefix)
    : object_(&object), file_name_(file_name), prefix_(prefix) {
  if (!object.is_object()) {
    throw Error(Status::config_invalid)
        .subject(file_name)
        .say("{}: {} is {}, expected an object", file_name, prefix.empty() ? "the document" : prefix,
             shown(object));
  }
}

const Json* ConfigReader::find(std::string_view key) const {
  const Json* found = object_->find(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::string ConfigReader::full_name(std::string_view key) const {
  return prefix_.empty() ? std::string(key) : format_text("{}.{}", prefix_, key);
}

void ConfigReader::refuse(std::string_view key, std::string_view expected) const {
  const Json* value = find(key);
  const std::string name = excerpt(full_name(key), 80);
  const std::string found = value == nullptr ? "missing" : shown(*value);
  throw Error(Status::config_invalid)
      .subject(file_name_)
      .field("field", name)
      .field("reason", format_text("is {}, expected {}", found, expected))
      .say("{}: {} is {}, expected {}", file_name_, name, found, expected);
}

int64_t ConfigReader::integer(std::string_view key, Range<int64_t> range) const {
  const Json* value = find(key);
  int64_t number = 0;
  if (value == nullptr || !read_integer(*value, number) || number < range.smallest ||
      number > range.largest) {
    refuse(key, format_text("an integer from {} to {}", range.smallest, range.largest));
  }
  return number;
}

int64_t ConfigReader::integer(std::string_view key, Range<int64_t> range, int64_t fallback) const {
  return has(key) ? integer(key, range) : fallback;
}

double ConfigReader::number(std::string_view key, Range<double> range) const {
  const Json* value = find(key);
  const double number = value != nullptr && value->is_number() ? value->get<double>() : std::nan("");
  // NaN fails both comparisons.
  if (!(number >= range.smallest && number <= range.largest)) {
    refuse(key, format_text("a number from {} to {}", range.smallest, range.largest));
  }
  return number;
}

double ConfigReader::number(std::string_view key, Range<double> range, double fallback) const {
  return has(key) ? number(key, range) : fallback;
}

bool ConfigReader::flag(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(std::string_view key, std::string_view fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

std::vector<int64_t> ConfigReader::integers(std::string_view key, Range<int64_t> range) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {integer(key, range)};
  std::vector<int64_t> numbers;
  for (const Json& element : *value) {
    int64_t number = 0;
    if (!read_integer(element, number) || number < range.smallest || number > range.largest) {
      refuse(key, format_text("integers from {} to {}", range.smallest, range.largest));
    }
    numbers.push_back(number);
  }
  return numbers;
}

ConfigReader ConfigReader::object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_object()) refuse(key, "an object");
  return {*value, file_name_, full_name(key)};
}

void ConfigReader::require_integer(std::string_view key, int64_t value) const {
  if (has(key) &&
      integer(key, {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) != value) {
    refuse(key, format_text("{}", value));
  }
}

void ConfigReader::require_number(std::string_view key, double value) const {
  if (!has(key)) return;
  const double limit = std::numeric_limits<double>::max();
  if (!(std::abs(number(key, {-limit, limit}) - value) <= 1e-6 * std::abs(value))) {
    refuse(key, format_text("{}", value));
  }
}

void ConfigReader::require_flag(std::string_view key, bool value) const {
  if (flag(key, value) != value) refuse(key, value ? "true" : "false");
}

void ConfigReader::require_text(std::string_view key, std::string_view value) const {
  if (text(key, value) != value) refuse(key, format_text("\"{}\"", value));
}

void ConfigReader::require_absent(std::string_view key, std::string_view reason) const {
  if (has(key)) refuse(key, format_text("null: {}", reason));
}

void ConfigReader::require_integers(std::string_view key, const std::vector<int64_t>& values) const {
  if (!has(key)) return;
  const int64_t limit = std::numeric_limits<int64_t>::max();
  if (integers(key, {-limit, limit}) == values) return;
  refuse(key, values.size() <= 16 ? format_text("{}", values)
                                  : format_text("the {} values that the other fields give", values.size()));
}

double shortest_decimal(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  double decimal = 0.0;
  std::from_chars(text, end.ptr, decimal);
  return decimal;
}

}  // namespace nanochat
