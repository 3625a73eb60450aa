// Pieces of JSON text, for what is written without a document in memory.
#pragma once

#include <string>
#include <string_view>

namespace nanochat {

// `text` in quotes. Invalid UTF-8 becomes U+FFFD; only quotes, backslashes and control characters are
// escaped.
void append_json_string(std::string& out, std::string_view text);
std::string quote_json(std::string_view text);

// The shortest number that reads back as `value`, always with a point or an exponent so that it stays a
// float: "2.0", "0.0001", "1e+16". NaN and infinities become null.
void append_json_number(std::string& out, double value);

}  // namespace nanochat
