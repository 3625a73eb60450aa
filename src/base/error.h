// The one exception type of the library. It ends in src/capi/guard.h and at thread entry points.
//
//   throw Error(Status::format_invalid).subject(path).say("tensor '{}': shape {}, expected {}", name, a, b);
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace nanochat {

// One argument of say() as text. Integers, floats (shortest round-trip form), strings and spans of integers.
class FormatArgument {
 public:
  FormatArgument(std::string_view text) : text_(text) {}
  FormatArgument(const std::string& text) : text_(text) {}
  FormatArgument(const char* text) : text_(text) {}
  FormatArgument(bool) = delete;
  template <std::integral T>
  FormatArgument(T value) : text_(std::to_string(value)) {}
  template <std::floating_point T>
  FormatArgument(T value) : text_(shortest(static_cast<double>(value))) {}
  FormatArgument(std::span<const int64_t> values);  // "[2,3]"
  FormatArgument(const std::vector<int64_t>& values) : FormatArgument(std::span<const int64_t>(values)) {}
  std::string_view text() const { return text_; }

 private:
  static std::string shortest(double value);
  std::string text_;
};

// Replaces each "{}" of pattern by the next argument.
std::string format_text(std::string_view pattern, std::span<const FormatArgument> arguments);
template <class... A>
std::string format_text(std::string_view pattern, const A&... arguments) {
  const FormatArgument list[] = {FormatArgument(arguments)..., FormatArgument("")};
  return format_text(pattern, std::span<const FormatArgument>(list, sizeof...(A)));
}

class Error : public std::exception {
 public:
  // A field of the exit-code table. `json` is the value as JSON text: a number, a string, an array.
  struct Field {
    std::string name;
    std::string text;
    std::string json;
  };

  explicit Error(Status status);

  template <class... A>
  Error& say(std::string_view pattern, const A&... arguments) {
    return message(format_text(pattern, arguments...));
  }
  Error& message(std::string text);
  Error& subject(std::string_view name);  // the object at fault: a path, a tensor, an option
  Error& hint(std::string_view text);     // what the caller can do
  Error& os_code(int code);               // errno or a CUDA code
  Error& cause(const Error& inner);
  Error& field(std::string_view name, std::string_view text);
  Error& field(std::string_view name, const char* text) { return field(name, std::string_view(text)); }
  Error& field(std::string_view name, int64_t value);
  Error& field(std::string_view name, uint64_t value);
  Error& field(std::string_view name, double value);
  Error& json_field(std::string_view name, std::string json);  // an array, say; also its text

  Status status() const { return detail_->status; }
  const std::string& message() const { return detail_->message; }
  const std::string& subject() const { return detail_->subject; }
  const std::string& hint() const { return detail_->hint; }
  int os_code() const { return detail_->os_code; }
  const Error* cause() const { return detail_->cause.get(); }
  const std::vector<Field>& fields() const { return detail_->fields; }
  const char* what() const noexcept override { return detail_->message.c_str(); }

 private:
  struct Detail {
    Status status = Status::internal;
    int os_code = 0;
    std::string message, subject, hint;
    std::vector<Field> fields;
    std::shared_ptr<const Error> cause;
  };
  Error& field_json(std::string_view name, std::string text, std::string json);
  std::shared_ptr<Detail> detail_;  // shared: copying an exception must not throw
};

// Throws internal: for conditions that only our own bug can break, in code that is not hot.
[[noreturn]] void throw_internal(std::string_view what);

}  // namespace nanochat
