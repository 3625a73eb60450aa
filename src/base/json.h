// JSON documents. One parser for the whole library: nlohmann-json, made strict and made to name the file.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace nanochat {

using Json = nlohmann::ordered_json;  // keeps the order of keys, so that what we write is what we read

// Throws format_invalid with `name` as subject, the byte offset and the reason. Refuses duplicate keys,
// invalid UTF-8, nesting deeper than 128, comments and trailing text.
Json parse_json(std::string_view text, std::string_view name);

std::string write_json(const Json& document, int indent = -1);

}  // namespace nanochat
