#include "tokenizer/model_json.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/excerpt.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/unigram_model.h"
#include "tokenizer/vocabulary_index.h"
#include "tokenizer/word_level_model.h"
#include "tokenizer/word_piece_model.h"

namespace nanochat {

namespace {

constexpr int64_t kMaxCharacters = int64_t{1} << 40;

Vocabulary make_vocabulary(const TokenizerDocument& document) {
  TokenList tokens;
  tokens.reserve(document.vocab.size(), document.vocab.size() * 8);
  for (const auto& [text, id] : document.vocab) tokens.add(static_cast<TokenId>(id), text);
  return Vocabulary(tokens);
}

// A text with a character outside of the alphabet stays as it is and is never found.
Vocabulary make_byte_vocabulary(const TokenizerDocument& document) {
  TokenList tokens;
  tokens.reserve(document.vocab.size(), document.vocab.size() * 8);
  std::string bytes;
  for (const auto& [text, id] : document.vocab) {
    if (!from_alphabet(text, bytes)) break;
    tokens.add(static_cast<TokenId>(id), bytes);
  }
  if (tokens.size() == document.vocab.size()) return Vocabulary(tokens);
  std::vector<Vocabulary::Entry> entries;
  entries.reserve(document.vocab.size());
  for (const auto& [text, id] : document.vocab) {
    Vocabulary::Entry entry{static_cast<TokenId>(id), {}, true};
    entry.searchable = from_alphabet(text, entry.text);
    if (!entry.searchable) entry.text = text;
    entries.push_back(std::move(entry));
  }
  return Vocabulary(entries);
}

std::vector<BpeMerge> read_merges(const TokenizerDocument& document, const VocabularyIndex& index,
                                  const std::string& prefix, const JsonNode& model) {
  std::vector<BpeMerge> merges;
  merges.reserve(document.merges.size());
  const auto id_of = [&](std::string_view left, std::string_view right) {
    const TokenId id = index.find(left, right);
    if (id < 0) {
      model.invalid("merges[{}]: '{}' is not in the vocabulary", merges.size(),
                    excerpt(std::string(left).append(right)));
    }
    return id;
  };
  for (const auto& [left, right] : document.merges) {
    const TokenId left_id = id_of(left, {}), right_id = id_of(right, {});
    if (right.size() < prefix.size()) {
      model.invalid("merges[{}]: '{}' is shorter than the prefix '{}'", merges.size(), excerpt(right),
                    prefix);
    }
    const TokenId result = id_of(left, right.substr(prefix.size()));
    merges.push_back({left_id, right_id, static_cast<uint32_t>(merges.size()), result});
  }
  return merges;
}

// A byte-level file may name affixes; they join bytes there, so only ASCII means the same in both forms.
std::string read_affix(const JsonNode& model, const char* key, BpeOptions::Units units) {
  const std::string text = model.text(key, "");
  const bool is_plain = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (units == BpeOptions::Units::bytes && !is_plain) model.unsupported("{} '{}'", key, excerpt(text));
  return text;
}

TokenId read_unknown(const JsonNode& model, const VocabularyIndex& index, std::string_view if_absent) {
  const std::string unknown = model.text("unk_token", if_absent);
  const TokenId id = index.find(unknown);
  if (id < 0) model.invalid("unk_token '{}' is not in the vocabulary", excerpt(unknown));
  return id;
}

void refuse_random(const JsonNode& model, const char* key) {
  if (!model.has(key)) return;
  const Json& value = model.at(key).value();
  if (value.is_number() && value.get<double>() == 0) return;
  model.unsupported("{} {}: encoding would be random", key, write_json(value));
}

BpeOptions read_bpe_options(const JsonNode& model, const VocabularyIndex& index, BpeOptions::Units units) {
  refuse_random(model, "dropout");
  BpeOptions options;
  options.units = units;
  options.prefix = read_affix(model, "continuing_subword_prefix", units);
  options.suffix = read_affix(model, "end_of_word_suffix", units);
  options.fuse_unknown = model.boolean("fuse_unk", false);
  options.byte_fallback = model.boolean("byte_fallback", false);
  options.whole_piece_first = model.boolean("ignore_merges", false);
  if (model.has("unk_token")) options.unknown = read_unknown(model, index, "");
  if (units == BpeOptions::Units::bytes && options.byte_fallback) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::string text = to_alphabet(std::string(1, static_cast<char>(byte)));
      if (index.find(text) < 0)
        model.unsupported("byte_fallback with ByteLevel, but no token for byte {}", byte);
    }
  }
  return options;
}

std::unique_ptr<const TokenModel> read_bpe(const JsonNode& model, const TokenizerDocument& document,
                                           BpeOptions::Units units) {
  if (!document.has_merges) model.invalid("'merges' is missing or no array");
  const VocabularyIndex index(document.vocab, model);
  BpeOptions options = read_bpe_options(model, index, units);
  const std::vector<BpeMerge> merges = read_merges(document, index, options.prefix, model);
  Vocabulary vocabulary =
      units == BpeOptions::Units::bytes ? make_byte_vocabulary(document) : make_vocabulary(document);
  return std::make_unique<BpeModel>(std::move(vocabulary), merges, std::move(options));
}

std::unique_ptr<const TokenModel> read_word_piece(const JsonNode& model, const TokenizerDocument& document) {
  const VocabularyIndex index(document.vocab, model);
  WordPieceOptions options;
  options.unknown = read_unknown(model, index, "[UNK]");
  options.prefix = model.text("continuing_subword_prefix", options.prefix);
  if (model.has("max_input_chars_per_word")) {
    options.max_characters =
        static_cast<size_t>(model.at("max_input_chars_per_word").integer(0, kMaxCharacters));
  }
  return std::make_unique<WordPieceModel>(make_vocabulary(document), std::move(options));
}

std::unique_ptr<const TokenModel> read_word_level(const JsonNode& model, const TokenizerDocument& document) {
  const VocabularyIndex index(document.vocab, model);
  const TokenId unknown = read_unknown(model, index, "<unk>");
  return std::make_unique<WordLevelModel>(make_vocabulary(document), unknown);
}

std::unique_ptr<const TokenModel> read_unigram(const JsonNode& model, const TokenizerDocument& document) {
  refuse_random(model, "alpha");
  std::vector<VocabularyIndex::Token> tokens;
  std::vector<UnigramPiece> pieces;
  double smallest = 0;
  for (const auto& [text, score] : document.scored_vocab) {
    smallest = pieces.empty() ? score : std::min(smallest, score);
    tokens.emplace_back(text, static_cast<int64_t>(tokens.size()));
    pieces.push_back({std::string(text), score, true});
  }
  const VocabularyIndex index(tokens, model);
  UnigramOptions options;
  options.unknown_score = smallest - kUnknownPenalty;
  options.byte_fallback = model.boolean("byte_fallback", false);
  if (model.has("unk_id")) {
    options.unknown = static_cast<TokenId>(model.at("unk_id").integer(0, kMaxTokenId));
    if (static_cast<size_t>(options.unknown) >= pieces.size()) {
      model.invalid("unk_id is {}, the vocabulary has {} tokens", options.unknown, pieces.size());
    }
  }
  return std::make_unique<UnigramModel>(std::move(pieces), options);
}

std::string model_type(const JsonNode& model, const TokenizerDocument& document) {
  if (model.has("type")) return model.type();
  if (document.has_scored_vocab) return "Unigram";
  if (document.has_vocab && document.has_merges) return "BPE";
  const bool names_unknown = document.has_vocab && model.has("unk_token");
  if (names_unknown && model.has("max_input_chars_per_word") && model.has("continuing_subword_prefix")) {
    return "WordPiece";
  }
  if (names_unknown) return "WordLevel";
  if (document.has_merges) model.invalid("'vocab' is missing or no object");
  model.invalid("no 'type', and no type has these members only: 'merges' is missing, or 'unk_token'");
}

}  // namespace

std::unique_ptr<const TokenModel> read_model(const JsonNode& model, const TokenizerDocument& document,
                                             BpeOptions::Units units) {
  const std::string type = model_type(model, document);
  if (type == "Unigram") {
    if (!document.has_scored_vocab) model.invalid("'vocab' is missing or no array");
    return read_unigram(model, document);
  }
  if (type != "BPE" && type != "WordPiece" && type != "WordLevel") {
    model.unsupported("model '{}'", excerpt(type));
  }
  if (!document.has_vocab) model.invalid("'vocab' is missing or no object");
  if (type == "BPE") return read_bpe(model, document, units);
  return type == "WordPiece" ? read_word_piece(model, document) : read_word_level(model, document);
}

}  // namespace nanochat
