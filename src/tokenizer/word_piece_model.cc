#include "tokenizer/word_piece_model.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace nanochat {

WordPieceModel::WordPieceModel(Vocabulary vocabulary, WordPieceOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  std::vector<PieceTrie::Key> whole, rest;
  for (TokenId id = 0; id < size(); ++id) {
    if (!has(id)) continue;
    const std::string_view text = vocabulary_.text(id);
    if (!text.empty()) whole.emplace_back(text, id);
    if (text.size() > options_.prefix.size() && text.starts_with(options_.prefix)) {
      rest.emplace_back(text.substr(options_.prefix.size()), id);
    }
  }
  first_ = PieceTrie(std::move(whole));
  continuing_ = PieceTrie(std::move(rest));
}

bool WordPieceModel::is_too_long(std::string_view piece) const {
  if (piece.size() <= options_.max_characters) return false;
  const auto n = std::count_if(piece.begin(), piece.end(),
                               [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; });
  return static_cast<size_t>(n) > options_.max_characters;
}

void WordPieceModel::encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                                  std::vector<TokenSpan>* spans) const {
  if (piece.empty()) return;
  const size_t n_ids = ids.size(), n_spans = spans ? spans->size() : 0;
  bool fits = !is_too_long(piece);
  for (size_t begin = 0, end = 0; fits && begin < piece.size(); begin = end) {
    const PieceTrie& trie = begin == 0 ? first_ : continuing_;
    uint32_t node = PieceTrie::kRoot;
    TokenId longest = -1;
    for (size_t position = begin; position < piece.size() && trie.step(node, piece[position]);) {
      ++position;
      if (trie.value(node) < 0) continue;
      longest = trie.value(node);
      end = position;
    }
    fits = longest >= 0;
    if (!fits) break;
    ids.push_back(longest);
    if (spans) spans->push_back({begin, end});
  }
  if (fits) return;
  ids.resize(n_ids);
  ids.push_back(options_.unknown);
  if (!spans) return;
  spans->resize(n_spans);
  spans->push_back({0, piece.size()});
}

std::string WordPieceModel::to_json(const std::vector<SpecialToken>& also) const {
  Json head;
  head["type"] = "WordPiece";
  head["unk_token"] = token_text(options_.unknown);
  head["continuing_subword_prefix"] = options_.prefix;
  head["max_input_chars_per_word"] = options_.max_characters;
  std::string out = write_json(head);
  out.pop_back();
  return out + ",\"vocab\":" + vocabulary_json(*this, also) + "}";
}

}  // namespace nanochat
