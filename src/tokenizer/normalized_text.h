// A text on its way through a pipeline, and where its bytes came from.
//
// Origins follow the Hugging Face library: each byte has the whole original character (or characters) it came
// from, and what was put into the text has the origin of its neighbour. They cost memory, so they are kept
// only for those who asked for spans.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

enum class Trace : bool { off, on };

// A view.
struct TextPiece {
  std::string_view text;
  size_t base = 0;  // of an unchanged text: where it begins in the original; 0: it is the beginning
  const TokenSpan* origins = nullptr;  // of a rewritten one, if it is traced: the origin of each of its bytes

  bool empty() const { return text.empty(); }
  TextPiece part(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), base + begin, origins ? origins + begin : nullptr};
  }
  // The original bytes of [begin, end) of this text. They may begin and end inside a character if the text is
  // unchanged: widen_to_characters().
  TokenSpan origin(size_t begin, size_t end) const {
    if (!origins) return {base + begin, base + end};
    if (begin < end) return {origins[begin].begin, origins[end - 1].end};
    if (text.empty()) return {base, base};
    const size_t place = begin < text.size() ? origins[begin].begin : origins[begin - 1].end;
    return {place, place};
  }
};

// The smallest run of whole characters of `text` around `span`. A byte that is not UTF-8 is a character.
TokenSpan widen_to_characters(std::string_view text, TokenSpan span);

// The result of rewriting a piece, written from left to right while reading the source.
class NormalizedText {
 public:
  // Forgets what it held. `source` stays the caller's; with a trace, that of an unchanged source is by
  // characters.
  void start(const TextPiece& source, Trace trace);

  size_t position() const { return position_; }  // bytes of the source that are read
  std::string_view source() const { return source_.text; }

  void keep(size_t n);                   // takes the next n bytes over as they are
  void keep_as(std::string_view bytes);  // the same for the next bytes.size(), each becoming another one
  void skip(size_t n) { position_ += n; }
  // Writes `text` in the place of the next n bytes, n > 0; its origin is that of the first of them.
  void replace(size_t n, std::string_view text) {
    if (traced()) trace_as(position_, text.size());
    text_ += text;
    position_ += n;
  }
  // Writes `text` without reading; its origin is that of the last byte read.
  void insert(std::string_view text) {
    if (traced()) trace_inserted(text.size());
    text_ += text;
  }
  // Writes a rewriting of the next n bytes.
  void replace(size_t n, const TextPiece& rewritten);
  std::string& untraced() { return text_; }  // to append to where traced() is false
  bool traced() const { return traced_; }

  TextPiece unread(size_t n) const {  // the next n bytes of the source, with their origins
    return {source_.text.substr(position_, n), source_.base + position_,
            traced_ ? from_ + position_ : nullptr};
  }
  TextPiece view() const { return {text_, base_, traced_ ? origins_.data() : nullptr}; }
  void swap(NormalizedText& other) noexcept;

 private:
  void trace_as(size_t position, size_t n) { origins_.insert(origins_.end(), n, from_[position]); }
  void trace_inserted(size_t n);

  TextPiece source_;
  std::string text_;
  std::vector<TokenSpan> origins_;
  std::vector<TokenSpan> by_character_;  // the origins of an unchanged source
  const TokenSpan* from_ = nullptr;
  size_t position_ = 0;
  size_t base_ = 0;
  bool traced_ = false;
};

}  // namespace nanochat
