// A tokenizer.json as read: the large tables of the model apart from the rest, which is small.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace nanochat {

struct TokenizerDocument {
  TokenizerDocument();
  TokenizerDocument(TokenizerDocument&& other) noexcept;
  ~TokenizerDocument();

  std::unique_ptr<Json> rest;                          // everything but the two tables below
  std::vector<std::pair<std::string, int64_t>> vocab;  // model.vocab, if it is an object; keys may repeat
  std::vector<std::pair<std::string, std::string>> merges;  // model.merges, if it is an array
  bool has_vocab = false;
  bool has_merges = false;
};

// Throws format_invalid naming `name` and the byte offset. Refuses what parse_json refuses.
TokenizerDocument read_tokenizer_document(std::string_view text, std::string_view name);

}  // namespace nanochat
