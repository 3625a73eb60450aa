#include "token_list.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "failure.h"

namespace nanochat::cli {
namespace {

using nlohmann::json;

constexpr size_t kMaxShownBytes = 60;

[[noreturn]] void refuse(const std::string& file, const std::string& what) {
  throw Failure(Exit::loading, file + ": " + what);
}

// A value as it stands in the file, cut short.
std::string shown(const json& value) {
  std::string text = value.is_structured() ? (value.is_array() ? "a list" : "an object")
                                           : value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMaxShownBytes) text = text.substr(0, kMaxShownBytes) + "...";
  return text;
}

json parse(std::string_view text, const std::string& file) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    refuse(file, "not JSON: error at byte " + std::to_string(error.byte));
  } catch (const json::exception& error) {
    refuse(file, std::string("not JSON: ") + error.what());
  }
}

int32_t token_id(const json& value, const std::string& file, const std::string& place) {
  if (!value.is_number_integer())
    refuse(file, place + " is " + shown(value) + ", not a token id (an integer)");
  const bool negative = !value.is_number_unsigned() && value.get<int64_t>() < 0;
  if (negative || value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    refuse(file, place + " is " + shown(value) + ", token ids go from 0 to 2147483647");
  }
  return value.get<int32_t>();
}

TokenList token_ids(const json& list, const std::string& file, const std::string& place) {
  if (!list.is_array()) refuse(file, place + " is " + shown(list) + ", not a list of token ids");
  TokenList ids;
  ids.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    // The place is only spelled out for what looks wrong: lists have millions of entries.
    const json& value = list[i];
    const bool plain = value.is_number_unsigned() && value.get<uint64_t>() <= 0x7fffffffU;
    ids.push_back(plain ? value.get<int32_t>()
                        : token_id(value, file, place + "[" + std::to_string(i) + "]"));
  }
  return ids;
}

}  // namespace

TokenList parse_token_list(std::string_view text, const std::string& file) {
  return token_ids(parse(text, file), file, "the list");
}

std::vector<TokenList> parse_token_rows(std::string_view text, const std::string& file) {
  const json rows = parse(text, file);
  if (!rows.is_array()) refuse(file, "it holds " + shown(rows) + ", not a list of token lists");
  if (rows.empty()) refuse(file, "it holds no token list");
  std::vector<TokenList> lists;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string place = "list " + std::to_string(i);
    lists.push_back(token_ids(rows[i], file, place));
    if (lists[i].empty()) refuse(file, place + " is empty");
    if (lists[i].size() != lists[0].size()) {
      refuse(file, place + " has " + std::to_string(lists[i].size()) + " tokens, list 0 has " +
                       std::to_string(lists[0].size()) + ": all must be equally long");
    }
  }
  return lists;
}

std::string token_list_json(const TokenList& ids) {
  std::string text = "[";
  for (const int32_t id : ids) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(id);
  }
  return text + "]";
}

}  // namespace nanochat::cli
