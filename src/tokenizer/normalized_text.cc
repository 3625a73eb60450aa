#include "tokenizer/normalized_text.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace nanochat {

namespace {

bool is_continuation(std::string_view text, size_t position) {
  return position < text.size() && (static_cast<uint8_t>(text[position]) & 0xC0) == 0x80;
}

// The character that holds the byte at `position`.
TokenSpan character_around(std::string_view text, size_t position) {
  for (size_t back = 0; back < 4 && back <= position; ++back) {
    const DecodedCodepoint c = decode_utf8(text, position - back);
    if (c.valid && c.length > back) return {position - back, position - back + c.length};
    if (!is_continuation(text, position - back)) break;
  }
  return {position, position + 1};
}

std::vector<TokenSpan> origins_by_character(std::string_view text, size_t base) {
  std::vector<TokenSpan> origins(text.size());
  for (size_t position = 0; position < text.size();) {
    size_t length = 1;
    if (static_cast<uint8_t>(text[position]) >= 0x80) {
      const DecodedCodepoint c = decode_utf8(text, position);
      if (c.valid) length = c.length;
    }
    const TokenSpan whole{base + position, base + position + length};
    for (size_t i = 0; i < length; ++i) origins[position++] = whole;
  }
  return origins;
}

}  // namespace

TokenSpan widen_to_characters(std::string_view text, TokenSpan span) {
  if (span.begin >= span.end) return span;
  if (is_continuation(text, span.begin)) span.begin = character_around(text, span.begin).begin;
  if (is_continuation(text, span.end))
    span.end = std::max(span.end, character_around(text, span.end - 1).end);
  return span;
}

void NormalizedText::start(const TextPiece& source, Trace trace) {
  source_ = source;
  text_.clear();
  text_.reserve(source.text.size());
  origins_.clear();
  traced_ = trace == Trace::on;
  position_ = 0;
  base_ = source.base;
  if (!traced_) return;
  origins_.reserve(source.text.size());
  if (!source.origins) by_character_ = origins_by_character(source.text, source.base);
  from_ = source.origins ? source.origins : by_character_.data();
}

void NormalizedText::keep(size_t n) { keep_as(source_.text.substr(position_, n)); }

void NormalizedText::keep_as(std::string_view bytes) {
  text_ += bytes;
  if (traced_) origins_.insert(origins_.end(), from_ + position_, from_ + position_ + bytes.size());
  position_ += bytes.size();
}

void NormalizedText::replace(size_t n, const TextPiece& rewritten) {
  text_ += rewritten.text;
  if (traced_) origins_.insert(origins_.end(), rewritten.origins, rewritten.origins + rewritten.text.size());
  position_ += n;
}

void NormalizedText::trace_inserted(size_t n) {
  if (position_ > 0) {
    trace_as(position_ - 1, n);
  } else {
    origins_.insert(origins_.end(), n, TokenSpan{base_, base_});
  }
}

void NormalizedText::swap(NormalizedText& other) noexcept {
  std::swap(source_, other.source_);
  text_.swap(other.text_);
  origins_.swap(other.origins_);
  by_character_.swap(other.by_character_);
  std::swap(from_, other.from_);
  std::swap(position_, other.position_);
  std::swap(base_, other.base_);
  std::swap(traced_, other.traced_);
}

}  // namespace nanochat
