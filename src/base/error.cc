#include "base/error.h"

#include <charconv>

#include "base/json_text.h"

namespace nanochat {

FormatArgument::FormatArgument(std::span<const int64_t> values) {
  text_ = "[";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text_ += ',';
    text_ += std::to_string(values[i]);
  }
  text_ += ']';
}

std::string FormatArgument::shortest(double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, result.ptr};
}

std::string format_text(std::string_view pattern, std::span<const FormatArgument> arguments) {
  std::string out;
  size_t next = 0;
  while (true) {
    const size_t brace = pattern.find("{}");
    if (brace == std::string_view::npos || next == arguments.size()) break;
    out += pattern.substr(0, brace);
    out += arguments[next++].text();
    pattern.remove_prefix(brace + 2);
  }
  return out += pattern;
}

Error::Error(Status status) : detail_(std::make_shared<Detail>()) { detail_->status = status; }

Error& Error::message(std::string text) {
  detail_->message = std::move(text);
  return *this;
}

Error& Error::subject(std::string_view name) {
  detail_->subject = name;
  return *this;
}

Error& Error::hint(std::string_view text) {
  detail_->hint = text;
  return *this;
}

Error& Error::os_code(int code) {
  detail_->os_code = code;
  return *this;
}

Error& Error::cause(const Error& inner) {
  detail_->cause = std::make_shared<const Error>(inner);
  return *this;
}

Error& Error::field_json(std::string_view name, std::string text, std::string json) {
  detail_->fields.push_back({std::string(name), std::move(text), std::move(json)});
  return *this;
}

Error& Error::field(std::string_view name, std::string_view text) {
  return field_json(name, std::string(text), quote_json(text));
}

Error& Error::field(std::string_view name, int64_t value) {
  return field_json(name, std::to_string(value), std::to_string(value));
}

Error& Error::field(std::string_view name, uint64_t value) {
  return field_json(name, std::to_string(value), std::to_string(value));
}

Error& Error::field(std::string_view name, double value) {
  const std::string text = format_text("{}", value);
  const bool finite = value - value == 0.0;
  return field_json(name, text, finite ? text : "null");
}

Error& Error::json_field(std::string_view name, std::string json) {
  std::string text = json;
  return field_json(name, std::move(text), std::move(json));
}

void throw_internal(std::string_view what) { throw Error(Status::internal).message(std::string(what)); }

}  // namespace nanochat
