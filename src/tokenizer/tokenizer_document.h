// A tokenizer.json as read: the large tables of the model apart from the rest, which is small.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tokenizer/text_arena.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

// Texts are kept by `texts`.
struct TokenizerDocument {
  TokenizerDocument();
  TokenizerDocument(TokenizerDocument&& other) noexcept;
  ~TokenizerDocument();

  std::unique_ptr<Json> rest;  // everything but the tables below
  TextArena texts;
  std::vector<std::pair<std::string_view, int64_t>> vocab;  // model.vocab, if an object; keys may repeat
  std::vector<std::pair<std::string_view, double>> scored_vocab;      // model.vocab, if an array
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // model.merges, if an array
  bool has_vocab = false;
  bool has_scored_vocab = false;
  bool has_merges = false;
};

// Throws format_invalid naming `name` and the byte offset. Refuses what parse_json refuses.
TokenizerDocument read_tokenizer_document(std::string_view text, std::string_view name);

// The tokenizer that it describes; throws format_invalid or format_unsupported naming `name` and the place.
std::shared_ptr<const Tokenizer> make_tokenizer(const TokenizerDocument& document, std::string_view name);

}  // namespace nanochat
