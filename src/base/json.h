// JSON documents. One parser for the whole library: nlohmann-json, made strict and made to name the file.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace nanochat {

// Keeps the order of keys, so that what we write is what we read. A look-up by key (find, at, operator[],
// contains) walks the object: iterate over objects that may be large (a vocabulary, a list of tensors). Never
// use the const operator[] with a key that may be missing: it is undefined there; use find, at or value.
using Json = nlohmann::ordered_json;

// Throws format_invalid with `name` as subject, the byte offset and the reason. Refuses duplicate keys,
// invalid UTF-8, NUL bytes, nesting deeper than 128, comments, trailing text, and numbers outside of double's
// range. A byte order mark at the start is skipped. Time and memory grow linearly with the text (n log n in
// the number of keys of one object).
Json parse_json(std::string_view text, std::string_view name);

// The same checks for a text that must be one object: hands over its members in order, each as soon as it is
// complete, and keeps only the keys. A key that appears twice is refused at the end, so after both were seen.
void parse_json_object(std::string_view text, std::string_view name,
                       const std::function<void(const std::string& key, Json&& value)>& on_member);

// indent < 0: one line without spaces. Invalid UTF-8 becomes U+FFFD, NaN and infinities become null.
std::string write_json(const Json& document, int indent = -1);

}  // namespace nanochat
