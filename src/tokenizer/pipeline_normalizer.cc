#include "tokenizer/pipeline_normalizer.h"

#include <algorithm>
#include <array>

#include "base/checked.h"
#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/character_sets.h"

namespace nanochat {

std::string replace_all(std::string_view text, std::string_view what, std::string_view by) {
  std::string result;
  result.reserve(text.size());
  for (size_t position = 0;;) {
    const size_t found = text.find(what, position);
    result += text.substr(position, found - position);
    if (found == std::string_view::npos) return result;
    result += by;
    position = found + what.size();
  }
}

namespace {

using Step = NormalizerStep;

// Calls rewrite(codepoint, length) for each character outside `ascii`, in which it says what an ASCII
// character becomes; kRewritten: rewrite tells. Bytes that are not UTF-8 stay.
constexpr char kRewritten = '\xff';
using AsciiTable = std::array<char, 128>;

template <class Rewrite>
void each_character(NormalizedText& text, const AsciiTable& ascii, const Rewrite& rewrite) {
  const std::string_view source = text.source();
  char block[1024];
  while (text.position() < source.size()) {
    size_t size = 0;
    for (const std::string_view rest = source.substr(text.position());
         size < std::min(rest.size(), sizeof block); ++size) {
      const auto byte = static_cast<uint8_t>(rest[size]);
      if (byte >= 0x80 || (block[size] = ascii[byte]) == kRewritten) break;
    }
    text.keep_as({block, size});
    if (text.position() == source.size() || size == sizeof block) continue;
    const DecodedCodepoint c = decode_utf8(source, text.position());
    if (c.valid) {
      rewrite(c.codepoint, c.length);
    } else {
      text.keep(1);
    }
  }
}

template <class Becomes>
AsciiTable ascii_table(const Becomes& becomes) {
  AsciiTable table;
  for (size_t c = 0; c < table.size(); ++c) table[c] = becomes(static_cast<char>(c));
  return table;
}

void keep_rest(NormalizedText& text) { text.keep(text.source().size() - text.position()); }

// The origin of what stands in a match's place is that of the match's last byte.
void replace_literal(const Step& step, NormalizedText& text) {
  const std::string_view source = text.source();
  for (;;) {
    const size_t found = source.find(step.what, text.position());
    text.keep(std::min(found, source.size()) - text.position());
    if (found == std::string_view::npos) return;
    text.skip(step.what.size());
    text.insert(step.by);
  }
}

void replace_matches(const Step& step, NormalizedText& text) {
  if (text.source().empty()) return;  // a match of nothing counts between characters, not without any
  RegexSearch search(*step.pattern);
  search.start(text.source());
  size_t begin = 0, end = 0;
  while (search.next(begin, end)) {
    text.keep(begin - text.position());
    text.skip(end - begin);
    text.insert(step.by);
  }
  keep_rest(text);
}

void prepend(const Step& step, NormalizedText& text) {
  const std::string_view source = text.source();
  if (source.empty()) return;
  const DecodedCodepoint first = decode_utf8(source, 0);
  const size_t length = first.valid ? first.length : 1;
  text.replace(length, step.by + std::string(source.substr(0, length)));
  keep_rest(text);
}

// Where the last run of white space of `text` begins.
size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && (static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) --begin;
    const DecodedCodepoint c = decode_utf8(text, begin);
    if (!c.valid || c.length != end - begin || !is_white_space(c.codepoint)) break;
    end = begin;
  }
  return end;
}

void strip(const Step& step, NormalizedText& text) {
  const std::string_view source = text.source();
  while (step.strips_left && text.position() < source.size()) {
    const DecodedCodepoint c = decode_utf8(source, text.position());
    if (!c.valid || !is_white_space(c.codepoint)) break;
    text.skip(c.length);
  }
  const size_t end = step.strips_right ? trailing_space(source) : source.size();
  if (end > text.position()) text.keep(end - text.position());
}

void lower(NormalizedText& text) {
  static const AsciiTable kLower =
      ascii_table([](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  std::string folded;
  each_character(text, kLower, [&](char32_t c, size_t length) {
    folded.clear();
    append_lower_case(folded, c);
    text.replace(length, folded);
  });
}

void strip_accents(NormalizedText& text) {
  static const AsciiTable kSame = ascii_table([](char c) { return c; });
  each_character(text, kSame, [&](char32_t c, size_t length) {
    if (is_combining_mark(c)) {
      text.skip(length);
    } else {
      text.keep(length);
    }
  });
}

void normalize_nmt(NormalizedText& text) {
  static const AsciiTable kPrintable =
      ascii_table([](char c) { return c >= ' ' && c < 0x7f ? c : kRewritten; });
  each_character(text, kPrintable, [&](char32_t c, size_t length) {
    const bool is_control =
        c < 0xa0 && c != 0 &&
        ((c < 9) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f);
    const bool is_space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
                          (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                          c == 0xfeff || c == 0xfffd;
    if (is_control) {
      text.skip(length);
    } else if (is_space) {
      text.replace(length, " ");
    } else {
      text.keep(length);
    }
  });
}

void write_alphabet(NormalizedText& text) {
  const std::string_view source = text.source();
  while (text.position() < source.size()) {
    const DecodedCodepoint c = decode_utf8(source, text.position());
    const size_t length = c.valid ? c.length : 1;
    text.replace(length, to_alphabet(source.substr(text.position(), length)));
  }
}

void run_step(const Step& step, NormalizedText& text) {
  switch (step.kind) {
    case Step::Kind::prepend:
      return prepend(step, text);
    case Step::Kind::replace:
      return replace_literal(step, text);
    case Step::Kind::replace_all:
      return replace_matches(step, text);
    case Step::Kind::strip:
      return strip(step, text);
    case Step::Kind::strip_accents:
      return strip_accents(text);
    case Step::Kind::lowercase:
      return lower(text);
    case Step::Kind::normal_form:
      return write_normal_form(step.form, text);
    case Step::Kind::nmt:
      return normalize_nmt(text);
    case Step::Kind::byte_level:
      return write_alphabet(text);
    case Step::Kind::bert:
      return step.bert->run(text);
    case Step::Kind::precompiled:
      return step.charsmap->run(text);
    case Step::Kind::sentence_piece:
      return step.sentence_piece->run(text);
  }
}

// As large as a size can be where it would be larger.
size_t times(size_t a, size_t b) {
  uint64_t product = 0;
  return checked_multiply(a, b, product) ? static_cast<size_t>(product) : SIZE_MAX;
}
size_t plus(size_t a, size_t b) {
  uint64_t sum = 0;
  return checked_add(a, b, sum) ? static_cast<size_t>(sum) : SIZE_MAX;
}

// How many bytes one byte may become.
size_t growth(const Step& step) {
  switch (step.kind) {
    case Step::Kind::replace:
      return std::max<size_t>(1, (step.by.size() + step.what.size() - 1) / step.what.size());
    case Step::Kind::lowercase:
    case Step::Kind::byte_level:
      return 2;
    case Step::Kind::normal_form:  // U+1D160, U+FDFA
      return step.form == NormalForm::nfc || step.form == NormalForm::nfd ? 3 : 11;
    case Step::Kind::bert:  // a decomposition, each part of it in lower case; an ideograph with its spaces is
                            // less
      return 6;
    case Step::Kind::precompiled:
      return std::max<size_t>(1, step.charsmap->longest_replacement());
    default:
      return 1;
  }
}

}  // namespace

TextPiece PipelineNormalizer::apply(const TextPiece& piece, Trace trace, NormalizedText& result) const {
  TextPiece view = piece;
  NormalizedText next;
  for (const NormalizerStep& step : steps_) {
    next.start(view, trace);
    run_step(step, next);
    result.swap(next);
    view = result.view();
  }
  return view;
}

std::string PipelineNormalizer::apply(std::string_view text) const {
  NormalizedText result;
  return std::string(apply(TextPiece{text}, Trace::off, result).text);
}

size_t PipelineNormalizer::size_bound(size_t text_bytes, size_t n_segments) const {
  for (const NormalizerStep& step : steps_) {
    if (step.kind == NormalizerStep::Kind::prepend) {
      text_bytes = plus(text_bytes, times(n_segments, step.by.size()));
    } else if (step.kind == NormalizerStep::Kind::sentence_piece) {  // a space before each segment
      text_bytes = times(plus(text_bytes, n_segments), step.sentence_piece->longest_replacement());
    } else if (step.kind == NormalizerStep::Kind::replace_all) {  // also where nothing stood
      text_bytes = plus(text_bytes, times(plus(text_bytes, n_segments), step.by.size()));
    } else {
      text_bytes = times(text_bytes, growth(step));
    }
  }
  return text_bytes;
}

}  // namespace nanochat
