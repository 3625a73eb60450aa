// A place in a JSON document that knows its path, so that every complaint names file, field and what was
// found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace nanochat {

class JsonNode {
 public:
  JsonNode(const Json& value, std::string_view file, std::string path)
      : value_(&value), file_(file), path_(std::move(path)) {}

  const Json& value() const { return *value_; }
  bool is_null() const;
  bool has(const char* key) const;     // present and not null
  JsonNode at(const char* key) const;  // throws if absent
  JsonNode item(size_t index) const;
  size_t array_size() const;  // throws if this is no array

  std::string text() const;
  int64_t integer(int64_t smallest, int64_t largest) const;
  bool boolean() const;
  std::string text(const char* key, std::string_view if_absent) const;
  bool boolean(const char* key, bool if_absent) const;
  std::string type() const { return at("type").text(); }  // the "type" member

  template <class... A>
  [[noreturn]] void invalid(std::string_view pattern, const A&... arguments) const {
    fail(Status::format_invalid, format_text(pattern, arguments...));
  }
  template <class... A>
  [[noreturn]] void unsupported(std::string_view pattern, const A&... arguments) const {
    fail(Status::format_unsupported, format_text(pattern, arguments...));
  }

 private:
  [[noreturn]] void fail(Status status, std::string_view reason) const;

  const Json* value_;
  std::string_view file_;
  std::string path_;
};

}  // namespace nanochat
