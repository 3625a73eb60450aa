#include "tokenizer/unigram_model.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

std::string byte_name(unsigned byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

Vocabulary make_vocabulary(const std::vector<UnigramPiece>& pieces) {
  TokenList tokens;
  tokens.reserve(pieces.size(), pieces.size() * 8);
  for (const UnigramPiece& piece : pieces) tokens.add(static_cast<TokenId>(tokens.size()), piece.text);
  return Vocabulary(tokens);
}

// Sums of single precision begin anew here: tokens' scores differ by less than the digits that are left.
constexpr double kFewDigitsLeft = -32768;

// The best way to cut the text up to a place, by its last token.
struct Arrival {
  double score = 0;
  TokenId id = -1;
  uint32_t length = 0;  // 0: no way leads here
};

}  // namespace

// One piece. Where no token goes across a place, the best way up to there is final: it is put out, and the
// table starts again.
class UnigramModel::Search {
 public:
  Search(const UnigramModel& model, std::string_view piece, std::vector<TokenId>& ids,
         std::vector<TokenSpan>* spans)
      : model_(model), piece_(piece), ids_(ids), spans_(spans) {}

  void run() {
    best_.reserve(std::min<size_t>(piece_.size() + 1, 256));
    best_.resize(1);
    while (begin_ < piece_.size()) {
      if (best_.size() == begin_ - base_ + 1) put_out();
      begin_ += extend();
    }
    put_out();
    end_unknown();
  }

 private:
  void offer(size_t length, double sum, TokenId id) {
    const double score =
        model_.options_.single_precision ? static_cast<double>(static_cast<float>(sum)) : sum;
    const size_t place = begin_ - base_ + length;
    if (best_.size() <= place) best_.resize(place + 1);
    Arrival& arrival = best_[place];
    if (arrival.length != 0 && !(score > arrival.score)) return;
    arrival = {score, id, static_cast<uint32_t>(length)};
  }

  // All tokens that begin here; returns the bytes of the character.
  size_t extend() {
    const double so_far = best_[begin_ - base_].score;
    const DecodedCodepoint character = decode_utf8(piece_, begin_);
    bool covers_character = false;
    uint32_t node = PieceTrie::kRoot;
    for (size_t end = begin_; end < piece_.size() && model_.trie_.step(node, piece_[end]);) {
      ++end;
      const TokenId id = model_.trie_.value(node);
      if (id < 0) continue;
      offer(end - begin_, model_.scores_[static_cast<size_t>(id)] + so_far, id);
      covers_character = covers_character || end - begin_ == character.length;
    }
    if (!covers_character) {
      offer(character.length, model_.options_.unknown_score + so_far, model_.options_.unknown);
    }
    return character.length;
  }

  // Every place that begins a character has been reached: an unknown one leads on.
  void put_out() {
    way_.clear();
    for (size_t place = begin_ - base_; place > 0; place -= best_[place].length) way_.push_back(place);
    for (auto place = way_.rbegin(); place != way_.rend(); ++place) {
      const Arrival& arrival = best_[*place];
      const size_t end = base_ + *place;
      put_out_one(arrival.id, end - arrival.length, end);
    }
    const double score = best_[begin_ - base_].score;
    const bool runs_out = model_.options_.single_precision && score < kFewDigitsLeft;
    best_[0] = {runs_out ? 0 : score, -1, 0};
    best_.resize(1);
    base_ = begin_;
  }
  void put_out_one(TokenId id, size_t begin, size_t end) {
    if (id == model_.options_.unknown) {
      if (unknown_.begin == unknown_.end) unknown_.begin = begin;
      unknown_.end = end;
      return;
    }
    end_unknown();
    add(id, {begin, end});
  }
  void end_unknown() {
    if (unknown_.begin == unknown_.end) return;
    const std::string_view text = piece_.substr(unknown_.begin, unknown_.end - unknown_.begin);
    const TokenId whole = model_.options_.single_precision ? -1 : model_.vocabulary_.find(text);
    if (whole >= 0) {
      add(whole, unknown_);
    } else if (model_.options_.byte_fallback && has_bytes(text)) {
      for (const char c : text) add(model_.byte_ids_[static_cast<uint8_t>(c)], unknown_);
    } else if (model_.options_.unknown >= 0) {
      add(model_.options_.unknown, unknown_);
    } else {
      throw Error(Status::out_of_range)
          .say("no token for '{}': the vocabulary has no unknown token", excerpt(text));
    }
    unknown_ = {0, 0};
  }
  bool has_bytes(std::string_view text) const {
    return model_.has_all_bytes_ || std::all_of(text.begin(), text.end(), [&](char c) {
             return model_.byte_ids_[static_cast<uint8_t>(c)] >= 0;
           });
  }
  void add(TokenId id, TokenSpan span) {
    ids_.push_back(id);
    if (spans_) spans_->push_back(span);
  }

  const UnigramModel& model_;
  std::string_view piece_;
  std::vector<TokenId>& ids_;
  std::vector<TokenSpan>* spans_;
  size_t base_ = 0;            // the place that best_[0] is of
  size_t begin_ = 0;           // the place reached
  std::vector<Arrival> best_;  // up to the farthest place that a token leads to
  std::vector<size_t> way_;
  TokenSpan unknown_{0, 0};  // unknown characters that wait for more
};

UnigramModel::UnigramModel(std::vector<UnigramPiece> pieces, UnigramOptions options)
    : vocabulary_(make_vocabulary(pieces)), options_(options) {
  std::vector<PieceTrie::Key> keys;
  keys.reserve(pieces.size());
  scores_.reserve(pieces.size());
  for (const UnigramPiece& piece : pieces) {
    if (piece.searchable && !piece.text.empty()) {
      keys.emplace_back(piece.text, static_cast<TokenId>(scores_.size()));
    }
    scores_.push_back(piece.score);
  }
  trie_ = PieceTrie(std::move(keys));
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = vocabulary_.find(byte_name(byte));
    has_all_bytes_ = has_all_bytes_ && byte_ids_[byte] >= 0;
  }
}

void UnigramModel::encode_piece(std::string_view piece, std::vector<TokenId>& ids,
                                std::vector<TokenSpan>* spans) const {
  if (!piece.empty()) Search(*this, piece, ids, spans).run();
}

std::string UnigramModel::to_json(const std::vector<SpecialToken>& also) const {
  if (!also.empty()) throw_internal("a Unigram vocabulary cannot name tokens outside of it");
  std::string out = "{\"type\":\"Unigram\",\"unk_id\":";
  out += options_.unknown >= 0 ? std::to_string(options_.unknown) : "null";
  out += ",\"vocab\":[";
  for (TokenId id = 0; id < size(); ++id) {
    if (id > 0) out += ',';
    out += '[';
    append_json_string(out, vocabulary_.text(id));
    out += ',';
    append_json_number(out, scores_[static_cast<size_t>(id)]);
    out += ']';
  }
  return out + "],\"byte_fallback\":" + (options_.byte_fallback ? "true" : "false") + "}";
}

}  // namespace nanochat
