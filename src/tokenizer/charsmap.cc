#include "tokenizer/charsmap.h"

#include <algorithm>
#include <array>

#include <utf8proc.h>

#include "base/error.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

constexpr size_t kLongCluster = 6;  // bytes: from here on a cluster is taken character by character

template <class... A>
[[noreturn]] void refuse(std::string_view name, std::string_view pattern, const A&... arguments) {
  throw Error(Status::format_invalid).subject(name).say("{}: {}", name, format_text(pattern, arguments...));
}

// The fields of a unit of the trie.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value(uint32_t unit) { return unit & 0x7fffffff; }
uint32_t label(uint32_t unit) { return unit & 0x800000ff; }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & 1U << 9) >> 6); }

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = 4; i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

size_t count_characters(std::string_view text) {
  size_t n = 0;
  for (size_t position = 0; position < text.size(); ++n) position += decode_utf8(text, position).length;
  return n;
}

bool is_printable(char c) { return c >= ' ' && c < 0x7f; }

// The bytes of the grapheme cluster at `begin`; a byte that is not UTF-8 is one of its own.
size_t cluster_length(std::string_view text, size_t begin) {
  DecodedCodepoint last = decode_utf8(text, begin);
  if (!last.valid) return 1;
  size_t end = begin + last.length;
  if (end < text.size() && is_printable(text[begin]) && is_printable(text[end])) return 1;
  utf8proc_int32_t state = 0;
  while (end < text.size()) {
    const DecodedCodepoint next = decode_utf8(text, end);
    if (!next.valid) break;
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.codepoint),
                                         static_cast<utf8proc_int32_t>(next.codepoint), &state)) {
      break;
    }
    end += next.length;
    last = next;
  }
  return end - begin;
}

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string_view name) {
  if (blob.size() < 4) refuse(name, "a charsmap of {} bytes, expected at least 4", blob.size());
  const size_t trie_bytes = little_endian(blob, 0);
  if (trie_bytes > blob.size() - 4 || trie_bytes % 4 != 0 || trie_bytes == 0) {
    refuse(name, "the charsmap's trie has {} bytes of the {} that are there, expected a multiple of 4",
           trie_bytes, blob.size() - 4);
  }
  for (size_t at = 4; at < 4 + trie_bytes; at += 4) units_.push_back(little_endian(blob, at));
  texts_ = blob.substr(4 + trie_bytes);
  if (const size_t bad = first_invalid_utf8(texts_); bad < texts_.size()) {
    refuse(name, "the charsmap's replacements are not UTF-8 at byte {}", bad);
  }
  for (size_t begin = 0; begin < texts_.size();) {
    const size_t end = std::min(texts_.find('\0', begin), texts_.size());
    longest_ = std::max(longest_, end - begin);
    begin = end + 1;
  }
  for (unsigned c = ' '; c < 0x7f; ++c) {
    const char letter = static_cast<char>(c);
    std::string_view replacement;
    stays_[c] = !find(std::string_view(&letter, 1), replacement);
  }
}

// The shortest key that `text` begins with. A trie that leads outside of itself has no more keys there.
bool Charsmap::replacement_at(uint32_t leaf, std::string_view& replacement) const {
  if (leaf >= units_.size() || value(units_[leaf]) > texts_.size()) return false;
  const size_t begin = value(units_[leaf]);
  // A place inside a character would give half of it.
  if (begin < texts_.size() && (static_cast<uint8_t>(texts_[begin]) & 0xc0) == 0x80) return false;
  replacement = std::string_view(texts_).substr(begin, texts_.find('\0', begin) - begin);
  return true;
}

size_t Charsmap::find_longest(std::string_view text, std::string_view& replacement) const {
  size_t longest = 0;
  uint32_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (has_leaf(unit) && replacement_at(node, replacement)) longest = i + 1;
  }
  return longest;
}

bool Charsmap::find(std::string_view text, std::string_view& replacement) const {
  uint32_t node = offset(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) return false;
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) return false;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (!replacement_at(node, replacement)) return false;
    return true;
  }
  return false;
}

void Charsmap::run(NormalizedText& text) const {
  const std::string_view source = text.source();
  while (text.position() < source.size()) {
    const size_t begin = text.position();
    // No printable ASCII joins the cluster before it, so only the last of them can be part of a longer one.
    size_t plain = begin;
    while (plain + 1 < source.size() && stays_[static_cast<uint8_t>(source[plain])] &&
           is_printable(source[plain + 1]))
      ++plain;
    if (plain > begin) {
      text.keep(plain - begin);
      continue;
    }
    const size_t length = cluster_length(source, begin);
    std::string_view replacement;
    if (length < kLongCluster && find(source.substr(begin, length), replacement)) {
      replace(text, length, replacement);
      continue;
    }
    for (const size_t end = begin + length; text.position() < end;) {
      const size_t n = decode_utf8(source, text.position()).length;
      if (find(source.substr(text.position(), n), replacement)) {
        replace(text, n, replacement);
      } else {
        text.keep(std::min(n, end - text.position()));
      }
    }
  }
}

// Characters take the places of characters in order; those that are too many come from the last one.
void Charsmap::replace(NormalizedText& text, size_t n, std::string_view replacement) const {
  if (!text.traced()) {
    text.untraced() += replacement;
    return text.skip(n);
  }
  const std::string_view source = text.source();
  const size_t end = text.position() + n;
  const size_t n_old = count_characters(source.substr(text.position(), n)),
               n_new = count_characters(replacement);
  for (size_t i = 0, at = 0; i < n_new; ++i) {
    const size_t size = decode_utf8(replacement, at).length;
    const std::string_view character = replacement.substr(at, size);
    const bool is_last = i + 1 == n_new;
    if (i >= n_old) {
      text.insert(character);
    } else {
      const size_t rest = end - text.position();
      text.replace(is_last ? rest : decode_utf8(source, text.position()).length, character);
    }
    at += size;
  }
  text.skip(end - text.position());
}

std::string decode_base64(std::string_view text, std::string_view name) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<uint8_t, 256> digits;
  digits.fill(0xff);
  for (size_t i = 0; i < kDigits.size(); ++i)
    digits[static_cast<uint8_t>(kDigits[i])] = static_cast<uint8_t>(i);
  if (text.size() % 4 != 0) refuse(name, "base64 of {} characters, expected a multiple of 4", text.size());
  size_t n_padding = 0;
  while (n_padding < 2 && n_padding < text.size() && text[text.size() - 1 - n_padding] == '=') ++n_padding;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t group = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t digit = i + n_padding >= text.size() ? 0 : digits[static_cast<uint8_t>(text[i])];
    if (digit == 0xff) refuse(name, "character {} is no base64", i);
    group = group << 6 | digit;
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(static_cast<uint8_t>(group >> shift));
    group = 0;
  }
  bytes.resize(bytes.size() - n_padding);
  return bytes;
}

}  // namespace nanochat
