// JSON texts. One parser and one writer for the whole library; the parser is nlohmann-json, made strict and
// made to name the file.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json_value.h"

namespace nanochat {

// Throws format_invalid with `name` as subject, the byte offset and the reason. Refuses duplicate keys,
// invalid UTF-8, NUL bytes, nesting deeper than 128, comments, trailing text, and numbers outside of double's
// range. A byte order mark at the start is skipped. Time and memory grow linearly with the text (n log n in
// the number of keys of one object).
Json parse_json(std::string_view text, std::string_view name);

// The same checks for a text that must be one object: hands over its members in order, each as soon as it is
// complete, and keeps only the keys. A key that appears twice is refused at the end, so after both were seen.
void parse_json_object(std::string_view text, std::string_view name,
                       const std::function<void(const std::string& key, Json&& value)>& on_member);

// What a text consists of, in its order: for readers that build something else than a document.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;
  virtual void scalar(Json&& value) = 0;  // neither an object nor an array
  virtual void key(std::string&& key) = 0;
  virtual void start_object() = 0;
  virtual void end_object() = 0;
  virtual void start_array() = 0;
  virtual void end_array() = 0;
};

// Tells `events` what the text holds. Refuses what parse_json refuses, except duplicate keys and deep
// nesting, which are for `events` to judge.
void parse_json_events(std::string_view text, std::string_view name, JsonEvents& events);

// indent < 0: one line without spaces. Invalid UTF-8 becomes U+FFFD, NaN and infinities become null. A number
// reads back as the same number; a float stays a float.
std::string write_json(const Json& document, int indent = -1);

}  // namespace nanochat
