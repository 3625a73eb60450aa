#include "tokenizer/sentence_piece_normalizer.h"

#include <algorithm>

#include "base/utf8.h"

namespace nanochat {

namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81";

}  // namespace

// One key of the table, or one character.
size_t SentencePieceNormalizer::read_chunk(std::string_view source, std::string_view& replacement) const {
  if (options_.charsmap) {
    if (const size_t n = options_.charsmap->find_longest(source, replacement); n > 0) return n;
  }
  const DecodedCodepoint c = decode_utf8(source, 0);
  replacement = c.valid ? source.substr(0, c.length) : "\xef\xbf\xbd";
  return c.valid ? c.length : 1;
}

template <class Visit>
void SentencePieceNormalizer::each_chunk(std::string_view source, const Visit& visit) const {
  const bool joins = options_.removes_extra_spaces;
  std::string_view replacement;
  size_t position = 0;
  while (joins && position < source.size()) {
    const size_t n = read_chunk(source.substr(position), replacement);
    if (replacement != " ") break;
    visit(n, std::string_view());
    position += n;
  }
  if (position == source.size()) return;
  std::string out(options_.space_before_text ? kSpace : "");
  for (bool after_space = joins; position < source.size();) {
    const size_t n = read_chunk(source.substr(position), replacement);
    while (after_space && replacement.starts_with(' ')) replacement.remove_prefix(1);
    for (const char c : replacement) {
      if (c == ' ') {
        out += kSpace;
      } else {
        out += c;
      }
    }
    if (!replacement.empty()) after_space = joins && replacement.ends_with(' ');
    visit(n, std::string_view(out));
    out.clear();
    position += n;
  }
}

void SentencePieceNormalizer::run(NormalizedText& text) const {
  const std::string_view source = text.source();
  size_t written = 0, kept = 0;  // bytes; up to the last one that is not of a space
  each_chunk(source, [&](size_t, std::string_view out) {
    written += out.size();
    size_t n = out.size();
    while (options_.removes_extra_spaces && out.substr(0, n).ends_with(kSpace)) n -= kSpace.size();
    if (n > 0) kept = written - (out.size() - n);
  });
  written = 0;
  each_chunk(source, [&](size_t n, std::string_view out) {
    const size_t left = std::min(out.size(), kept - written);
    if (left == 0) {
      text.skip(n);
    } else {
      text.replace(n, out.substr(0, left));
    }
    written += left;
  });
}

size_t SentencePieceNormalizer::longest_replacement() const {
  return kSpace.size() *
         std::max<size_t>(options_.charsmap ? options_.charsmap->longest_replacement() : 1, 1);
}

}  // namespace nanochat
