// BERT's vocab.txt: one WordPiece token a line, the line number being the id.
#pragma once

#include <memory>
#include <string_view>

#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

bool looks_like_bert_vocabulary(std::string_view text);  // a line is "[UNK]"

// `config` is the tokenizer_config.json beside it, or null: do_lower_case, strip_accents and
// tokenize_chinese_chars are read. Without do_lower_case, a vocabulary with a capital letter is cased. Throws
// format_invalid naming `name` and the line.
std::shared_ptr<const Tokenizer> parse_bert_vocabulary(std::string_view text, std::string_view name,
                                                       const Json& config);

}  // namespace nanochat
