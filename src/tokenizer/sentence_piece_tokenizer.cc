// A tokenizer from what a SentencePiece file says. Its tokenizer.json form is that of the Hugging Face
// library, which has the same parts, but reads its table cluster by cluster and adds up scores in doubles.
#include <algorithm>
#include <utility>

#include "base/json.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/decoder_json.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/sentence_piece_file.h"
#include "tokenizer/sentence_piece_normalizer.h"
#include "tokenizer/unigram_model.h"

namespace nanochat {

namespace {

using Type = SentencePieceFile::Type;

constexpr const char* kSpace = "\xe2\x96\x81";

std::string encode_base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < n ? static_cast<uint8_t>(bytes[i + k]) : 0U);
    for (size_t k = 0; k < 4; ++k) text += k <= n ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

Json replace_json(const char* form, const char* what, const char* by) {
  Json pattern;
  pattern[form] = what;
  Json step = {{"type", "Replace"}};
  step["pattern"] = std::move(pattern);
  step["content"] = by;
  return step;
}

Json normalizer_json(const SentencePieceFile& file) {
  Json steps = Json::array();
  if (!file.charsmap.empty()) {
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(file.charsmap)}});
  }
  if (file.removes_extra_spaces) {
    steps.push_back(replace_json("Regex", "\\A +", ""));
    steps.push_back(replace_json("Regex", " {2,}", " "));
  }
  if (file.space_before_text) steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  steps.push_back(replace_json("String", " ", kSpace));
  if (file.removes_extra_spaces) {
    steps.push_back(replace_json("Regex", "(?<!\xe2\x96\x81)\xe2\x96\x81+\\z", ""));
  }
  Json normalizer = {{"type", "Sequence"}};
  normalizer["normalizers"] = std::move(steps);
  return normalizer;
}

Json decoder_json(const SentencePieceFile& file) {
  Json steps = Json::array();
  steps.push_back(replace_json("String", kSpace, " "));
  if (file.byte_fallback) steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (file.space_before_text || file.removes_extra_spaces) {
    Json strip = {{"type", "Strip"}, {"content", " "}};
    strip["start"] = 1;
    strip["stop"] = 0;
    steps.push_back(std::move(strip));
  }
  Json decoder = {{"type", "Sequence"}};
  decoder["decoders"] = std::move(steps);
  return decoder;
}

std::vector<AddedToken> control_tokens(const SentencePieceFile& file) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type != Type::control) continue;
    AddedToken token;
    token.text = file.pieces[id].text;
    token.id = static_cast<TokenId>(id);
    token.special = true;
    added.push_back(std::move(token));
  }
  return added;
}

Json added_json(const std::vector<AddedToken>& added) {
  Json list = Json::array();
  for (const AddedToken& token : added) {
    list.push_back({{"id", token.id},
                    {"content", token.text},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  }
  return list;
}

TokenId unknown_id(const SentencePieceFile& file) {
  const auto found =
      std::find_if(file.pieces.begin(), file.pieces.end(),
                   [](const SentencePieceFile::Piece& piece) { return piece.type == Type::unknown; });
  return static_cast<TokenId>(found - file.pieces.begin());
}

std::unique_ptr<const TokenModel> make_unigram(const SentencePieceFile& file) {
  std::vector<UnigramPiece> pieces;
  pieces.reserve(file.pieces.size());
  float smallest = 0;
  bool any = false;
  for (const SentencePieceFile::Piece& piece : file.pieces) {
    pieces.push_back({piece.text, static_cast<double>(piece.score), piece.type == Type::normal});
    if (piece.type != Type::normal) continue;
    smallest = any ? std::min(smallest, piece.score) : piece.score;
    any = true;
  }
  UnigramOptions options;
  options.unknown = unknown_id(file);
  options.byte_fallback = file.byte_fallback;
  options.single_precision = true;
  options.unknown_score = static_cast<double>(smallest - static_cast<float>(kUnknownPenalty));
  return std::make_unique<UnigramModel>(std::move(pieces), options);
}

// Two neighbours are joined whenever that makes a piece, the best score first, the leftmost among equals.
std::vector<BpeMerge> merges_by_score(const SentencePieceFile& file, const Vocabulary& vocabulary) {
  std::vector<BpeMerge> merges;
  const auto joins = [&](TokenId id) {
    return id >= 0 && file.pieces[static_cast<size_t>(id)].type == Type::normal;
  };
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type != Type::normal) continue;
    const std::string_view text = file.pieces[id].text;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<uint8_t>(text[cut]) & 0xc0) == 0x80) continue;
      const TokenId left = vocabulary.find(text.substr(0, cut)), right = vocabulary.find(text.substr(cut));
      if (joins(left) && joins(right)) merges.push_back({left, right, 0, static_cast<TokenId>(id)});
    }
  }
  const auto score = [&](const BpeMerge& merge) {
    return file.pieces[static_cast<size_t>(merge.result)].score;
  };
  std::stable_sort(merges.begin(), merges.end(),
                   [&](const BpeMerge& a, const BpeMerge& b) { return score(a) > score(b); });
  for (size_t i = 1; i < merges.size(); ++i) {
    merges[i].rank = merges[i - 1].rank + (score(merges[i]) < score(merges[i - 1]) ? 1 : 0);
  }
  return merges;
}

std::unique_ptr<const TokenModel> make_bpe(const SentencePieceFile& file) {
  TokenList tokens;
  for (const SentencePieceFile::Piece& piece : file.pieces) {
    tokens.add(static_cast<TokenId>(tokens.size()), piece.text);
  }
  Vocabulary vocabulary(tokens);
  const std::vector<BpeMerge> merges = merges_by_score(file, vocabulary);
  BpeOptions options;
  options.units = BpeOptions::Units::characters;
  options.unknown = unknown_id(file);
  options.fuse_unknown = true;
  options.byte_fallback = file.byte_fallback;
  return std::make_unique<BpeModel>(std::move(vocabulary), merges, std::move(options));
}

}  // namespace

std::shared_ptr<const Tokenizer> make_sentence_piece(const SentencePieceFile& file, std::string_view name) {
  TokenizerParts parts;
  SentencePieceNormalizer::Options normalizer;
  normalizer.space_before_text = file.space_before_text;
  normalizer.removes_extra_spaces = file.removes_extra_spaces;
  if (!file.charsmap.empty()) normalizer.charsmap = std::make_shared<const Charsmap>(file.charsmap, name);
  NormalizerStep step{NormalizerStep::Kind::sentence_piece};
  step.sentence_piece = std::make_shared<const SentencePieceNormalizer>(std::move(normalizer));
  parts.normalizer = PipelineNormalizer({std::move(step)});
  parts.model = file.model == SentencePieceFile::Model::bpe ? make_bpe(file) : make_unigram(file);
  parts.added = control_tokens(file);

  Json rest = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  rest["added_tokens"] = added_json(parts.added);
  rest["normalizer"] = normalizer_json(file);
  rest["pre_tokenizer"] = nullptr;
  rest["post_processor"] = nullptr;
  rest["decoder"] = decoder_json(file);
  std::vector<DecoderStep> steps = read_decoder(JsonNode(rest["decoder"], name, "decoder"));
  steps.insert(steps.begin(),
               {DecoderStep::Kind::replace_token, file.pieces[static_cast<size_t>(unknown_id(file))].text,
                file.unknown_text, 0});
  parts.decoder = TokenDecoder(std::move(steps));
  parts.json_without_model = write_json(rest);
  return std::make_shared<PipelineTokenizer>(std::move(parts));
}

}  // namespace nanochat
