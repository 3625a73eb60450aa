// Token ids as JSON lists, the form in which `tokenizer` and `forward` read and write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat::cli {

using TokenList = std::vector<int32_t>;

// [1, 2, 3]. Throws Failure naming `file` and what is wrong where.
TokenList parse_token_list(std::string_view json, const std::string& file);

// [[1, 2], [3, 4]]: at least one list, all of the same length, which is at least one.
std::vector<TokenList> parse_token_rows(std::string_view json, const std::string& file);

std::string token_list_json(const TokenList& ids);

}  // namespace nanochat::cli
