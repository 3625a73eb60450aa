#include "warm/object_reader.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

constexpr size_t kMostPathBytes = 4096;

// "fleet.json: component 'E1': "
std::string lead(const std::string& file_name, const std::string& place) {
  return place.empty() ? file_name + ": " : file_name + ": " + place + ": ";
}

}  // namespace

ObjectReader::ObjectReader(const Json& object, std::string_view file_name, std::string_view place)
    : object_(object), file_name_(file_name), place_(place) {
  if (object.is_object()) return;
  throw Error(Status::config_invalid)
      .subject(file_name_)
      .field("field", place_)
      .say("{}{}, expected an object", lead(file_name_, place_), excerpt(write_json(object)));
}

const Json* ObjectReader::take(std::string_view key) {
  known_.push_back(key);
  return object_.find(key);
}

void ObjectReader::refuse(std::string_view key, std::string_view expected) const {
  const Json* const value = object_.find(key);
  const std::string shown = value == nullptr ? "missing" : excerpt(write_json(*value));
  throw Error(Status::config_invalid)
      .subject(file_name_)
      .field("field", key)
      .field("value", shown)
      .field("reason", format_text("expected {}", expected))
      .say("{}{} is {}, expected {}", lead(file_name_, place_), key, shown, expected);
}

void ObjectReader::refuse_with(std::string_view key, std::string_view what) const {
  throw Error(Status::config_invalid)
      .subject(file_name_)
      .field("field", excerpt(key))
      .field("reason", what)
      .say("{}{}", lead(file_name_, place_), what);
}

void ObjectReader::finish() const {
  for (const JsonMember& member : object_.items()) {
    if (std::ranges::find(known_, member.key) != known_.end()) continue;
    refuse_with(member.key, format_text("unknown key '{}'", excerpt(member.key)));
  }
}

std::optional<std::string> ObjectReader::text(std::string_view key) {
  const Json* const value = take(key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(key, "a text");
  return value->get<std::string>();
}

std::optional<std::string> ObjectReader::path(std::string_view key) {
  auto path = text(key);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (path && (path->size() > kMostPathBytes || std::ranges::any_of(*path, is_control)))
    refuse(key, format_text("a path of {} bytes at most, without control characters", kMostPathBytes));
  return path;
}

std::optional<int64_t> ObjectReader::integer(std::string_view key, int64_t smallest, int64_t largest) {
  const Json* const value = take(key);
  if (value == nullptr) return {};
  const auto expected = [&] { return format_text("a whole number from {} to {}", smallest, largest); };
  if (!value->is_number_integer()) refuse(key, expected());
  const bool is_too_large = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
  if (is_too_large || value->get<int64_t>() < smallest || value->get<int64_t>() > largest)
    refuse(key, expected());
  return value->get<int64_t>();
}

std::optional<uint64_t> ObjectReader::unsigned_integer(std::string_view key) {
  const Json* const value = take(key);
  if (value == nullptr) return {};
  if (!value->is_number_integer() || (!value->is_number_unsigned() && value->get<int64_t>() < 0))
    refuse(key, "a whole number of 0 at least");
  return value->get<uint64_t>();
}

std::optional<double> ObjectReader::number(std::string_view key, double smallest, double largest) {
  const Json* const value = take(key);
  if (value == nullptr) return {};
  const bool is_in_range =
      value->is_number() && value->get<double>() >= smallest && value->get<double>() <= largest;
  if (!is_in_range) refuse(key, format_text("a number from {} to {}", smallest, largest));
  return value->get<double>();
}

std::optional<bool> ObjectReader::flag(std::string_view key) {
  const Json* const value = take(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

const Json* ObjectReader::object(std::string_view key) {
  const Json* const value = take(key);
  if (value != nullptr && !value->is_object()) refuse(key, "an object");
  return value;
}

const Json* ObjectReader::array(std::string_view key) {
  const Json* const value = take(key);
  if (value != nullptr && !value->is_array()) refuse(key, "a list");
  return value;
}

}  // namespace nanochat
