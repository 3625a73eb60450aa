#include "base/json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr size_t kMaxDepth = 128;

[[noreturn]] void refuse(std::string_view name, std::string_view reason) {
  throw Error(Status::format_invalid).subject(name).say("{}: not valid JSON: {}", name, reason);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view name) {
  std::vector<std::set<std::string>> keys;  // of each open object
  const Json::parser_callback_t check = [&](int depth, Json::parse_event_t event, Json& value) {
    if (static_cast<size_t>(depth) > kMaxDepth) {
      refuse(name, format_text("nested deeper than {} levels", kMaxDepth));
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get_ref<const std::string&>()).second) {
      refuse(name, format_text("key '{}' appears twice in one object", value.get_ref<const std::string&>()));
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(Status::format_invalid)
        .subject(name)
        .say("{}: not valid JSON at byte {} of {}: {}", name, error.byte, text.size(), error.what());
  } catch (const nlohmann::json::exception& error) {
    refuse(name, error.what());
  }
}

std::string write_json(const Json& document, int indent) {
  return document.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace nanochat
