#include "tokenizer/tiktoken_file.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// RFC 4648 section 4, padded, nothing else in it, unused bits zero.
bool decode_base64(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.empty() || text.size() % 4 != 0) return false;
  size_t digits = text.size();
  while (digits > text.size() - 2 && text[digits - 1] == '=') --digits;
  uint32_t bits = 0;
  unsigned n_bits = 0;
  for (const char c : text.substr(0, digits)) {
    const int digit = base64_digit(c);
    if (digit < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    n_bits += 6;
    if (n_bits >= 8) {
      n_bits -= 8;
      bytes.push_back(static_cast<char>(bits >> n_bits & 0xff));
    }
  }
  return (bits & ((1u << n_bits) - 1)) == 0;
}

// False: not "<base64> <rank>".
bool parse_line(std::string_view line, Vocabulary::Entry& token) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || !decode_base64(line.substr(0, space), token.text)) return false;
  const std::string_view rank = line.substr(space + 1);
  const auto [end, error] = std::from_chars(rank.data(), rank.data() + rank.size(), token.id);
  return error == std::errc() && end == rank.data() + rank.size() && token.id >= 0;
}

std::string_view take_line(std::string_view text, size_t& position) {
  const size_t end = std::min(text.find('\n', position), text.size());
  std::string_view line = text.substr(position, end - position);
  position = end + 1;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

bool looks_like_tiktoken(std::string_view text) {
  size_t position = 0;
  Vocabulary::Entry token;
  return parse_line(take_line(text, position), token);
}

std::vector<Vocabulary::Entry> parse_tiktoken(std::string_view text, std::string_view name) {
  std::vector<Vocabulary::Entry> tokens;
  size_t line_number = 0;
  for (size_t position = 0; position < text.size();) {
    const std::string_view line = take_line(text, position);
    ++line_number;
    if (line.empty()) continue;
    Vocabulary::Entry token;
    if (!parse_line(line, token)) {
      throw Error(Status::format_invalid)
          .subject(name)
          .say("{}: line {}: expected base64, a space and a rank, found '{}'", name, line_number,
               excerpt(line));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace nanochat
