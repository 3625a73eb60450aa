#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"

namespace nanochat {

namespace {

std::string fallback_name(unsigned byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

BpeOptions whole_pieces_first() {
  BpeOptions options;
  options.whole_piece_first = true;
  return options;
}

}  // namespace

BpeModel::BpeModel(Vocabulary vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options)
    : BpeModel(std::move(vocabulary), merges, std::move(options), ByteEncoder::MergeSource::list) {}

BpeModel::BpeModel(Vocabulary vocabulary)
    : BpeModel(std::move(vocabulary), {}, whole_pieces_first(), ByteEncoder::MergeSource::ranks) {}

BpeModel::BpeModel(Vocabulary vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options,
                   ByteEncoder::MergeSource source)
    : vocabulary_(std::move(vocabulary)),
      merges_(merges),
      options_(std::move(options)),
      source_(source),
      encoder_(vocabulary_, merges_, source,
               options_.whole_piece_first ? ByteEncoder::WholePieces::first
                                          : ByteEncoder::WholePieces::by_merges) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = options_.units == BpeOptions::Units::bytes
                          ? vocabulary_.find(std::string(1, static_cast<char>(byte)))
                          : vocabulary_.find(fallback_name(byte));
  }
  for (const TokenId id : vocabulary_.unsearchable()) literal_ids_.emplace(vocabulary_.text(id), id);
}

void BpeModel::encode_text(const SplitRules& rules, std::string_view text, std::vector<TokenId>& ids,
                           std::vector<TokenSpan>* spans) const {
  if (is_plain_bytes()) return encoder_.encode_text(rules, text, ids, spans);
  TokenModel::encode_text(rules, text, ids, spans);
}

size_t BpeModel::count(const SplitRules& rules, std::string_view text) const {
  return is_plain_bytes() ? encoder_.count(rules, text) : TokenModel::count(rules, text);
}

void BpeModel::encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                            std::vector<TokenSpan>* spans) const {
  if (piece.empty()) return;
  if (is_plain_bytes()) return encoder_.encode_piece(piece, ids, spans);
  if (options_.whole_piece_first) {
    const TokenId whole = vocabulary_.find(piece);
    if (whole >= 0) {
      if (spans) spans->push_back({0, piece.size()});
      return ids.push_back(whole);
    }
  }
  Symbols symbols;
  symbols.ids.reserve(piece.size());
  split_characters(piece, symbols);
  if (!spans) return merges_.apply(symbols.ids, ids);
  std::vector<size_t> firsts;
  merges_.apply(symbols.ids, ids, &firsts);
  firsts.push_back(symbols.ids.size());
  for (size_t i = 0; i + 1 < firsts.size(); ++i) {
    spans->push_back({symbols.spans[firsts[i]].begin, symbols.spans[firsts[i + 1] - 1].end});
  }
}

// The id of one character with its affixes. In a byte-level file the affixes stay in the file's own letters,
// which are ASCII in every file known, where letter and byte are the same.
TokenId BpeModel::find_unit(std::string_view piece, size_t begin, size_t end) const {
  const bool wants_prefix = begin != 0 && !options_.prefix.empty();
  const bool wants_suffix = end == piece.size() && !options_.suffix.empty();
  const std::string_view character = piece.substr(begin, end - begin);
  if (!wants_prefix && !wants_suffix) {
    if (options_.units == BpeOptions::Units::bytes) return byte_ids_[static_cast<uint8_t>(character[0])];
    return vocabulary_.find(character);
  }
  std::string text(wants_prefix ? options_.prefix : "");
  text += character;
  if (wants_suffix) text += options_.suffix;
  return vocabulary_.find(text);
}

bool BpeModel::append_bytes(std::string_view text, size_t begin, Symbols& symbols) const {
  for (const char c : text) {
    if (byte_ids_[static_cast<uint8_t>(c)] < 0) return false;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    symbols.add(byte_ids_[static_cast<uint8_t>(text[i])], {begin + i, begin + i + 1});
  }
  return true;
}

void BpeModel::split_characters(std::string_view piece, Symbols& symbols) const {
  const bool by_bytes = options_.units == BpeOptions::Units::bytes;
  bool unknown_waits = false;  // so that several can become one
  TokenSpan unknown{0, 0};
  for (size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    bool valid = true;
    end = begin + 1;
    if (!by_bytes) {
      const DecodedCodepoint c = decode_utf8(piece, begin);
      valid = c.valid;
      if (valid) end = begin + c.length;
    }
    TokenId id = find_unit(piece, begin, end);
    const std::string_view character = piece.substr(begin, end - begin);
    if (id < 0 && options_.byte_fallback && append_bytes(character, begin, symbols)) continue;
    if (id < 0 && !valid) id = vocabulary_.find("\xef\xbf\xbd");
    if (id >= 0) {
      if (unknown_waits) symbols.add(options_.unknown, unknown);
      unknown_waits = false;
      symbols.add(id, {begin, end});
    } else if (options_.unknown >= 0) {
      if (unknown_waits && !options_.fuse_unknown) symbols.add(options_.unknown, unknown);
      if (!unknown_waits || !options_.fuse_unknown) unknown.begin = begin;
      unknown.end = end;
      unknown_waits = true;
    }
  }
  if (unknown_waits) symbols.add(options_.unknown, unknown);
}

std::string BpeModel::token_text(TokenId id) const {
  const std::string_view text = vocabulary_.text(id);
  return is_in_bytes(id) ? to_alphabet(text) : std::string(text);
}

bool BpeModel::is_in_bytes(TokenId id) const {
  const std::vector<TokenId>& literal = vocabulary_.unsearchable();
  return options_.units == BpeOptions::Units::bytes &&
         !std::binary_search(literal.begin(), literal.end(), id);
}

bool BpeModel::raw_bytes(TokenId id, std::string_view& bytes) const {
  bytes = vocabulary_.text(id);
  return is_in_bytes(id);
}

// Every pair of tokens that makes a token. There are several times as many as tokens.
std::vector<BpeMerge> BpeModel::implied_merges() const {
  std::vector<BpeMerge> merges;
  for (TokenId id = 0; id < vocabulary_.size(); ++id) {
    if (!vocabulary_.has(id)) continue;
    const std::string_view text = vocabulary_.text(id);
    const size_t longest = std::min(text.size() - 1, vocabulary_.longest());
    for (size_t cut = 1; cut <= longest; ++cut) {
      const TokenId left = vocabulary_.find(text.substr(0, cut), text.data() + text.size());
      if (left < 0) continue;
      const TokenId right = vocabulary_.find(text.substr(cut));
      if (right >= 0) merges.push_back({left, right, static_cast<uint32_t>(id), id});
    }
  }
  std::sort(merges.begin(), merges.end(), [](const BpeMerge& a, const BpeMerge& b) {
    return std::tie(a.rank, a.left, a.right) < std::tie(b.rank, b.left, b.right);
  });
  return merges;
}

std::vector<BpeMerge> BpeModel::merges() const {
  return source_ == ByteEncoder::MergeSource::list ? merges_.list() : implied_merges();
}

TokenId BpeModel::find_text(std::string_view text) const {
  if (options_.units == BpeOptions::Units::characters) return vocabulary_.find(text);
  std::string bytes;
  if (from_alphabet(text, bytes)) return vocabulary_.find(bytes);
  const auto found = literal_ids_.find(std::string(text));
  return found == literal_ids_.end() ? -1 : found->second;
}

std::string BpeModel::to_json(const std::vector<SpecialToken>& also) const {
  Json head;
  head["type"] = "BPE";
  head["dropout"] = nullptr;
  head["unk_token"] = options_.unknown >= 0 ? Json(token_text(options_.unknown)) : Json(nullptr);
  head["continuing_subword_prefix"] = options_.prefix.empty() ? Json(nullptr) : Json(options_.prefix);
  head["end_of_word_suffix"] = options_.suffix.empty() ? Json(nullptr) : Json(options_.suffix);
  head["fuse_unk"] = options_.fuse_unknown;
  head["byte_fallback"] = options_.byte_fallback;
  head["ignore_merges"] = options_.whole_piece_first;
  std::string out = write_json(head);
  out.pop_back();  // the vocabulary is too long for a document in memory: its text is written here
  out += ",\"vocab\":{";
  const char* separator = "";
  for (TokenId id = 0; id < size(); ++id) {
    if (!has(id)) continue;
    out += separator + quote_json(token_text(id)) + ":" + std::to_string(id);
    separator = ",";
  }
  for (const SpecialToken& token : also) {
    out += separator + quote_json(token.text) + ":" + std::to_string(token.id);
    separator = ",";
  }
  out += "},\"merges\":[";
  separator = "";
  for (const BpeMerge& merge : merges()) {
    out += separator;
    out += "[" + quote_json(token_text(merge.left)) + "," + quote_json(token_text(merge.right)) + "]";
    separator = ",";
  }
  return out + "]}";
}

}  // namespace nanochat
