#include "tokenizer/tiktoken_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

constexpr uint8_t kNoDigit = 64;

constexpr std::array<uint8_t, 256> kBase64Digits = [] {
  std::array<uint8_t, 256> digits{};
  for (uint8_t& digit : digits) digit = kNoDigit;
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  return digits;
}();

// RFC 4648 section 4, padded, nothing else in it, unused bits zero.
bool decode_base64(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.empty() || text.size() % 4 != 0) return false;
  size_t n_digits = text.size();
  while (n_digits > text.size() - 2 && text[n_digits - 1] == '=') --n_digits;
  uint32_t bits = 0, seen = 0;
  for (size_t i = 0; i < text.size(); i += 4) {
    bits = 0;
    for (size_t k = i; k < i + 4; ++k) {
      const uint32_t digit = k < n_digits ? kBase64Digits[static_cast<uint8_t>(text[k])] : 0;
      seen |= digit;
      bits = bits << 6 | digit;
    }
    for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(bits >> shift & 0xff));
  }
  const size_t n_unused = text.size() - n_digits;
  bytes.resize(bytes.size() - n_unused);
  return (seen & kNoDigit) == 0 && (bits & ((1u << 8 * n_unused) - 1)) == 0;
}

// False: not "<base64> <rank>".
bool parse_line(std::string_view line, std::string& bytes, TokenId& id) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || !decode_base64(line.substr(0, space), bytes)) return false;
  const std::string_view rank = line.substr(space + 1);
  const auto [end, error] = std::from_chars(rank.data(), rank.data() + rank.size(), id);
  return error == std::errc() && end == rank.data() + rank.size() && id >= 0;
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
  std::string bytes;
  TokenId id;
  return parse_line(take_line(text, position), bytes, id);
}

TokenList parse_tiktoken(std::string_view text, std::string_view name) {
  TokenList tokens;
  const auto n_lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  tokens.reserve(n_lines + 1, text.size() / 2);
  size_t line_number = 0;
  std::string bytes;
  TokenId id;
  for (size_t position = 0; position < text.size();) {
    const std::string_view line = take_line(text, position);
    ++line_number;
    if (line.empty()) continue;
    if (!parse_line(line, bytes, id)) {
      throw Error(Status::format_invalid)
          .subject(name)
          .say("{}: line {}: expected base64, a space and a rank, found '{}'", name, line_number,
               excerpt(line));
    }
    tokens.add(id, bytes);
  }
  return tokens;
}

}  // namespace nanochat
