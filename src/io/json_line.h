// One member of a JSON object that stands on a line, without building the object where that can be avoided.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace nanochat {

// The string `field` of the object in `line`; the value lies in `line` or in `buffer`. Refuses whatever
// parse_json() refuses, and lines that are no object with such a string: format_invalid naming `name()`.
std::string_view json_string_member(std::string_view line, std::string_view field, std::string& buffer,
                                    const std::function<std::string()>& name);

}  // namespace nanochat
