#include "tokenizer/bert_normalizer.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "tokenizer/character_sets.h"
#include "tokenizer/normal_forms.h"

namespace nanochat {

namespace {

constexpr char kRemoved = '\xff';

size_t ascii_run(std::string_view text, size_t begin) {
  while (begin < text.size() && static_cast<uint8_t>(text[begin]) < 0x80) ++begin;
  return begin;
}

size_t other_run(std::string_view text, size_t begin) {
  while (begin < text.size() && static_cast<uint8_t>(text[begin]) >= 0x80) ++begin;
  return begin;
}

}  // namespace

BertNormalizer::BertNormalizer(const BertNormalizerOptions& options) : options_(options) {
  for (char32_t c = 0; c < 0x80; ++c) {
    char to = static_cast<char>(c);
    if (options.lowercase && c >= 'A' && c <= 'Z') to = static_cast<char>(c - 'A' + 'a');
    if (options.clean_text && is_white_space(c)) to = ' ';
    if (options.clean_text && is_bert_control(c)) to = kRemoved;
    ascii_[c] = to;
  }
}

void BertNormalizer::run(NormalizedText& text) const {
  const std::string_view source = text.source();
  while (text.position() < source.size()) {
    // Nothing composes here and marks do not pass a letter, so ASCII and the rest do not see each other.
    run_ascii(text, ascii_run(source, text.position()) - text.position());
    if (text.position() < source.size())
      run_others(text, other_run(source, text.position()) - text.position());
  }
}

void BertNormalizer::run_ascii(NormalizedText& text, size_t n) const {
  const std::string_view source = text.source().substr(text.position(), n);
  char block[1024];
  for (size_t begin = 0; begin < n;) {
    const size_t end = std::min(n, begin + sizeof block);
    size_t size = 0;
    for (; begin < end && (block[size] = ascii_[static_cast<uint8_t>(source[begin])]) != kRemoved; ++begin)
      ++size;
    text.keep_as({block, size});
    if (begin < end) {
      text.skip(1);
      ++begin;
    }
  }
}

// Clean text and ideographs, then accents and case, which see what the first two left.
void BertNormalizer::run_others(NormalizedText& text, size_t n) const {
  const Trace trace = text.traced() ? Trace::on : Trace::off;
  NormalizedText cleaned;
  cleaned.start(text.unread(n), trace);
  clean(cleaned);
  if (!options_.strip_accents && !options_.lowercase) return text.replace(n, cleaned.view());
  NormalizedText decomposed, folded;
  TextPiece view = cleaned.view();
  if (options_.strip_accents) {
    decomposed.start(view, trace);
    write_normal_form(NormalForm::nfd, decomposed);
    view = decomposed.view();
  }
  folded.start(view, trace);
  strip_and_fold(folded);
  text.replace(n, folded.view());
}

void BertNormalizer::clean(NormalizedText& text) const {
  const std::string_view source = text.source();
  while (text.position() < source.size()) {
    const DecodedCodepoint c = decode_utf8(source, text.position());
    const size_t length = c.valid ? c.length : 1;
    const bool is_removed = c.codepoint == 0xfffd || is_bert_control(c.codepoint);
    if (options_.clean_text && is_removed) {
      text.skip(length);
    } else if (options_.clean_text && is_white_space(c.codepoint)) {
      text.replace(length, " ");
    } else if (options_.handle_chinese_chars && c.valid && is_bert_ideograph(c.codepoint)) {
      text.replace(length, " " + std::string(source.substr(text.position(), length)) + " ");
    } else {
      text.keep(length);
    }
  }
}

void BertNormalizer::strip_and_fold(NormalizedText& text) const {
  const std::string_view source = text.source();
  std::string lower;
  while (text.position() < source.size()) {
    const DecodedCodepoint c = decode_utf8(source, text.position());
    const size_t length = c.valid ? c.length : 1;
    if (options_.strip_accents && c.valid && is_nonspacing_mark(c.codepoint)) {
      text.skip(length);
    } else if (options_.lowercase && c.valid) {
      lower.clear();
      append_lower_case(lower, c.codepoint);
      text.replace(length, lower);
    } else {
      text.keep(length);
    }
  }
}

}  // namespace nanochat
