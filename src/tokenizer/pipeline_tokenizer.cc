#include "tokenizer/pipeline_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/unicode_classes.h"

namespace nanochat {

namespace {

// Spaces at the beginning and at the end of a token's text, in which GPT-2's alphabet may write a space.
std::pair<uint32_t, uint32_t> count_spaces(std::string_view text) {
  const char32_t letter = byte_to_alphabet(' ');
  uint32_t leading = 0, trailing = 0;
  bool only_spaces = true;
  for (size_t position = 0; position < text.size();) {
    const ClassedChar c = classed_char_at(text, position);
    position += c.length;
    const bool is_space = c.codepoint == letter || c.is(kCharSpace);
    only_spaces = only_spaces && is_space;
    leading += only_spaces ? 1 : 0;
    trailing = is_space ? trailing + 1 : 0;
  }
  return {leading, trailing};
}

}  // namespace

TokenId Tokenizer::special_id(std::string_view text) const {
  for (const SpecialToken& special : specials()) {
    if (special.text == text) return special.id;
  }
  return -1;
}

bool Tokenizer::is_special(TokenId id) const {
  return std::any_of(specials().begin(), specials().end(),
                     [id](const SpecialToken& special) { return special.id == id; });
}

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
  added_ = AddedTokens(std::move(parts_.added), parts_.normalizer);
  TokenId largest = parts_.model->size() - 1;
  for (const AddedToken& token : added_.tokens()) largest = std::max(largest, token.id);
  index_bytes(largest);
  bos_ = find_bos();
  if (parts_.span_trim == SpanTrim::none) return;
  for (TokenId id = 0; id <= largest; ++id) {
    const bool is_token = bytes_.kind(id) != Kind::none;
    space_counts_.push_back(is_token ? count_spaces(text(id)) : std::pair(0U, 0U));
  }
}

void PipelineTokenizer::index_bytes(TokenId largest) {
  std::vector<Kind> kinds(static_cast<size_t>(largest) + 1, Kind::none);
  for (TokenId id = 0; id < parts_.model->size(); ++id) {
    if (parts_.model->has(id)) kinds[static_cast<size_t>(id)] = Kind::model;
  }
  for (const AddedToken& token : added_.tokens()) {
    kinds[static_cast<size_t>(token.id)] = token.special ? Kind::special : Kind::added;
    if (token.special) specials_.push_back({token.text, token.id});
  }
  const bool is_byte_level = parts_.decoder.is_byte_level();
  bytes_.reserve(kinds.size());
  for (TokenId id = 0; id <= largest; ++id) {
    const Kind kind = kinds[static_cast<size_t>(id)];
    std::string_view raw;
    if (kind == Kind::none) {
      bytes_.add(kind, {});
    } else if (is_byte_level && kind == Kind::model && parts_.model->raw_bytes(id, raw)) {
      bytes_.add(kind, raw);  // the same without the way through the file's form of it
    } else if (kind != Kind::model && !parts_.decodes_added) {
      bytes_.add(kind, text(id));
    } else {
      bytes_.add(kind, parts_.decoder.decode(text(id), false));
    }
  }
}

// A file does not say which token begins a text. Its post-processor does, if it puts a special token there;
// else the name tells.
TokenId PipelineTokenizer::find_bos() const {
  if (!parts_.prefix.empty()) return parts_.prefix.front();
  for (const std::string_view name :
       {"<|bos|>", "<bos>", "<s>", "[CLS]", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"}) {
    if (const TokenId id = special_id(name); id >= 0) return id;
  }
  return -1;
}

// Ids and, if they are wanted, their spans in `original`.
struct PipelineTokenizer::Output {
  std::string_view original;
  std::vector<TokenId>& ids;
  std::vector<TokenSpan>* spans;

  Trace trace() const { return spans ? Trace::on : Trace::off; }
  void add(TokenId id, TokenSpan span) const {
    ids.push_back(id);
    if (spans) spans->push_back(span);
  }
  void add_without_text(const std::vector<TokenId>& added) const {
    ids.insert(ids.end(), added.begin(), added.end());
    if (spans) spans->insert(spans->end(), added.size(), TokenSpan{0, 0});
  }
  // Of the ids from `first` on, whose spans are those within `piece`.
  void trace_piece(const TextPiece& piece, size_t first) const {
    for (size_t i = first; i < spans->size(); ++i) {
      TokenSpan& span = (*spans)[i];
      span = widen_to_characters(original, piece.origin(span.begin, span.end));
    }
  }
};

void PipelineTokenizer::encode_segment(const TextPiece& segment, const EncodeOptions& options,
                                       const Output& output) const {
  NormalizedText rewritten;
  const TextPiece normalized = parts_.normalizer.apply(segment, output.trace(), rewritten);
  std::vector<AddedTokens::Segment> parts;
  added_.split_normalized(normalized.text, options, parts);
  for (const AddedTokens::Segment& part : parts) {
    const auto begin = static_cast<size_t>(part.text.data() - normalized.text.data());
    const size_t end = begin + part.text.size();
    if (part.id >= 0) {
      output.add(part.id, normalized.origin(begin, end));
      continue;
    }
    const size_t first = output.spans ? output.spans->size() : 0;
    if (const SplitRules* rules = parts_.pre_tokenizer.only_rules()) {
      parts_.model->encode_text(*rules, part.text, output.ids, output.spans);
      if (output.spans) output.trace_piece(normalized.part(begin, end), first);
      continue;
    }
    parts_.pre_tokenizer.split(normalized.part(begin, end), output.trace(), [&](const TextPiece& piece) {
      const size_t first_of_piece = output.spans ? output.spans->size() : 0;
      parts_.model->encode_piece(piece.text, output.ids, output.spans);
      if (output.spans) output.trace_piece(piece, first_of_piece);
    });
  }
}

// As the library counts: a token's own spaces, at most as many as its span has room for.
void PipelineTokenizer::trim_spans(const Output& output, size_t first_id, size_t first_span) const {
  for (size_t i = 0; first_id + i < output.ids.size(); ++i) {
    const auto id = static_cast<size_t>(output.ids[first_id + i]);
    size_t leading = space_counts_[id].first;
    const size_t trailing = space_counts_[id].second;
    TokenSpan& span = (*output.spans)[first_span + i];
    const bool may_be_added = parts_.span_trim == SpanTrim::spaces_but_the_first;
    if (may_be_added && leading == 1 && (i == 0 || span.begin == 0)) leading = 0;
    span.begin = std::min(span.begin + leading, span.end);
    if (span.end >= trailing) span.end = std::max(span.end - trailing, span.begin);
  }
}

void PipelineTokenizer::encode(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& ids,
                               std::vector<TokenSpan>* spans) const {
  const Output output{text, ids, spans};
  const bool add = options.add == AddSpecials::yes;
  if (add) output.add_without_text(parts_.prefix);
  const size_t first_id = ids.size(), first_span = spans ? spans->size() : 0;
  std::vector<AddedTokens::Segment> segments;
  added_.split_raw(text, options, segments);
  for (const AddedTokens::Segment& segment : segments) {
    const auto begin = static_cast<size_t>(segment.text.data() - text.data());
    if (segment.id >= 0) {
      output.add(segment.id, {begin, begin + segment.text.size()});
    } else {
      encode_segment({segment.text, begin}, options, output);
    }
  }
  if (spans && parts_.span_trim != SpanTrim::none) trim_spans(output, first_id, first_span);
  if (add) output.add_without_text(parts_.suffix);
}

size_t PipelineTokenizer::count(std::string_view text, const EncodeOptions& options) const {
  const SplitRules* rules = parts_.pre_tokenizer.only_rules();
  const bool is_plain = rules != nullptr && parts_.normalizer.empty();
  size_t n = options.add == AddSpecials::yes ? parts_.prefix.size() + parts_.suffix.size() : 0;
  std::vector<AddedTokens::Segment> raw, normalized;
  std::vector<TokenId> ids;
  added_.split_raw(text, options, raw);
  for (const AddedTokens::Segment& segment : raw) {
    if (segment.id >= 0) {
      ++n;
      continue;
    }
    if (!is_plain) {
      ids.clear();
      const auto begin = static_cast<size_t>(segment.text.data() - text.data());
      encode_segment({segment.text, begin}, options, {text, ids, nullptr});
      n += ids.size();
      continue;
    }
    normalized.clear();
    added_.split_normalized(segment.text, options, normalized);
    for (const AddedTokens::Segment& part : normalized) {
      n += part.id >= 0 ? 1 : parts_.model->count(*rules, part.text);
    }
  }
  return n;
}

PipelineTokenizer::Kind PipelineTokenizer::kind(TokenId id) const {
  const Kind found = bytes_.kind(id);
  if (found == Kind::none) {
    const bool inside = id >= 0 && id < vocab_size();
    throw Error(Status::out_of_range)
        .say("token id {}: {}, the vocabulary size is {}", id,
             inside ? "no token has this id" : "out of range", vocab_size());
  }
  return found;
}

std::string PipelineTokenizer::text(TokenId id) const {
  const auto& tokens = added_.tokens();
  const auto found =
      std::lower_bound(tokens.begin(), tokens.end(), id,
                       [](const AddedToken& token, TokenId wanted) { return token.id < wanted; });
  return found != tokens.end() && found->id == id ? found->decoded : parts_.model->token_text(id);
}

std::string PipelineTokenizer::token_bytes(TokenId id, bool is_first, bool skip_specials) const {
  const Kind of_id = kind(id);
  if (of_id == Kind::special && skip_specials) return {};
  const bool raw = of_id != Kind::model && !parts_.decodes_added;
  if (!is_first || raw) return std::string(bytes_.bytes(id));
  return parts_.decoder.decode(text(id), true);
}

std::string PipelineTokenizer::last_token_bytes(TokenId id, bool is_first, bool skip_specials) const {
  const Kind of_id = kind(id);
  const bool raw = of_id != Kind::model && !parts_.decodes_added;
  if (!parts_.decoder.differs_at_end() || raw) return token_bytes(id, is_first, skip_specials);
  if (of_id == Kind::special && skip_specials) return {};
  return parts_.decoder.decode_last(text(id), is_first);
}

std::string PipelineTokenizer::decode(std::span<const TokenId> ids, bool skip_specials) const {
  if (parts_.decoder.differs_at_end() || parts_.decoder.drops_repeats()) {
    return decode_in_context(ids, skip_specials);
  }
  std::string result;
  size_t n = 0;
  while (n < ids.size() && kind(ids[n]) == Kind::special && skip_specials) ++n;
  if (n == ids.size()) return result;
  result = token_bytes(ids[n++], true, skip_specials);
  n += bytes_.append(ids.subspan(n), skip_specials, result);
  if (n < ids.size()) kind(ids[n]);  // throws
  return result;
}

// For decoders to which a token's neighbours matter.
std::string PipelineTokenizer::decode_in_context(std::span<const TokenId> ids, bool skip_specials) const {
  std::vector<TokenId> kept;
  for (const TokenId id : ids) {
    if (kind(id) == Kind::special && skip_specials) continue;
    if (!drops_repeats() || kept.empty() || kept.back() != id) kept.push_back(id);
  }
  std::string result;
  for (size_t i = 0; i < kept.size(); ++i) {
    result +=
        i + 1 < kept.size() ? token_bytes(kept[i], i == 0, false) : last_token_bytes(kept[i], i == 0, false);
  }
  return result;
}

// The Hugging Face library does not take the ids of added tokens from the file: those that its model does not
// have get the ids after the model's, in order. Where that would be wrong, the model's vocabulary has to name
// them.
std::vector<SpecialToken> PipelineTokenizer::added_with_ids_of_their_own() const {
  std::vector<SpecialToken> tokens;
  if (parts_.decodes_added) return tokens;  // made from a file of that library: it stays as it was
  TokenId expected = 0;
  for (TokenId id = 0; id < parts_.model->size(); ++id) expected += parts_.model->has(id) ? 1 : 0;
  bool in_order = true;
  for (const AddedToken& token : added_.tokens()) {
    if (parts_.model->has(token.id)) continue;
    tokens.push_back({token.text, token.id});
    in_order = in_order && token.id == expected++;
  }
  return in_order ? std::vector<SpecialToken>{} : tokens;
}

size_t PipelineTokenizer::encode_bound(size_t text_bytes) const {
  // A token takes a byte at least. Added tokens cut the text into text_bytes + 1 segments at most.
  const size_t n = parts_.pre_tokenizer.size_bound(parts_.normalizer.size_bound(text_bytes, text_bytes + 1));
  const size_t n_around = parts_.prefix.size() + parts_.suffix.size();
  return n > SIZE_MAX - n_around ? SIZE_MAX : n + n_around;
}

const SplitRules* PipelineTokenizer::only_split_rules(const EncodeOptions& options) const {
  const auto is_looked_for = [&](const AddedToken& token) {
    return !token.special || options.in_text != SpecialsInText::none;
  };
  const std::vector<AddedToken>& tokens = added_.tokens();
  const bool is_plain =
      parts_.normalizer.empty() && std::none_of(tokens.begin(), tokens.end(), is_looked_for);
  return is_plain ? parts_.pre_tokenizer.only_rules() : nullptr;
}

std::string PipelineTokenizer::to_json() const {
  std::string out = parts_.json_without_model;
  out.pop_back();
  return out + ",\"model\":" + parts_.model->to_json(added_with_ids_of_their_own()) + "}";
}

}  // namespace nanochat
