// tiktoken's rank files: one token a line, base64 of its bytes, a space, its rank.
#pragma once

#include <string_view>

#include "tokenizer/vocabulary.h"

namespace nanochat {

bool looks_like_tiktoken(std::string_view text);  // by the first line

// Throws format_invalid naming `name` and the line.
TokenList parse_tiktoken(std::string_view text, std::string_view name);

}  // namespace nanochat
