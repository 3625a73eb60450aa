#include "base/utf8.h"

#include <cstring>

namespace nanochat {

namespace {

constexpr char32_t kReplacement = 0xFFFD;

uint8_t byte_at(std::string_view text, size_t position) { return static_cast<uint8_t>(text[position]); }

// What may follow a first byte: Unicode 15, table 3-7. Only the second byte has a range of its own.
struct LeadByte {
  uint32_t length;  // of the sequence; 0: cannot start one
  uint8_t second_low, second_high;
};

LeadByte classify(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};  // a continuation byte, or an overlong form of ASCII
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};  // below: overlong
  if (lead == 0xED) return {3, 0x80, 0x9F};  // above: surrogates
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};  // below: overlong
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};  // above: past U+10FFFF
  return {0, 0, 0};
}

// Length of the run of ASCII bytes at `position`, in whole words.
size_t ascii_words(std::string_view text, size_t position) {
  const size_t start = position;
  uint64_t word;
  while (position + sizeof word <= text.size()) {
    std::memcpy(&word, text.data() + position, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
    position += sizeof word;
  }
  return position - start;
}

}  // namespace

DecodedCodepoint decode_utf8(std::string_view text, size_t position) {
  const uint8_t lead = byte_at(text, position);
  const LeadByte form = classify(lead);
  if (form.length == 1) return {lead, 1, true};
  if (form.length == 0) return {kReplacement, 1, false};
  char32_t codepoint = lead & (0x7Fu >> form.length);
  for (uint32_t i = 1; i < form.length; ++i) {
    const uint8_t low = i == 1 ? form.second_low : 0x80;
    const uint8_t high = i == 1 ? form.second_high : 0xBF;
    if (position + i >= text.size()) return {kReplacement, i, false};
    const uint8_t byte = byte_at(text, position + i);
    if (byte < low || byte > high) return {kReplacement, i, false};
    codepoint = codepoint << 6 | (byte & 0x3Fu);
  }
  return {codepoint, form.length, true};
}

void append_utf8(std::string& out, char32_t codepoint) {
  const bool surrogate = codepoint >= 0xD800 && codepoint <= 0xDFFF;
  if (surrogate || codepoint > 0x10FFFF) codepoint = kReplacement;
  const auto push = [&](char32_t byte) { out += static_cast<char>(static_cast<uint8_t>(byte)); };
  const auto push_tail = [&](int shift) { push(0x80 | (codepoint >> shift & 0x3F)); };
  if (codepoint < 0x80) {
    push(codepoint);
  } else if (codepoint < 0x800) {
    push(0xC0 | codepoint >> 6);
    push_tail(0);
  } else if (codepoint < 0x10000) {
    push(0xE0 | codepoint >> 12);
    push_tail(6);
    push_tail(0);
  } else {
    push(0xF0 | codepoint >> 18);
    push_tail(12);
    push_tail(6);
    push_tail(0);
  }
}

size_t first_invalid_utf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    position += ascii_words(text, position);
    if (position == text.size()) break;
    const DecodedCodepoint decoded = decode_utf8(text, position);
    if (!decoded.valid) return position;
    position += decoded.length;
  }
  return text.size();
}

bool is_valid_utf8(std::string_view text) { return first_invalid_utf8(text) == text.size(); }

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const size_t valid = first_invalid_utf8(text);
    out += text.substr(0, valid);
    if (valid == text.size()) return out;
    append_utf8(out, kReplacement);
    text.remove_prefix(valid + decode_utf8(text, valid).length);
  }
}

size_t complete_utf8_prefix(std::string_view text) {
  // A sequence that is still open began at most 3 bytes before the end, at its first byte.
  for (size_t tail = 1; tail <= 3 && tail <= text.size(); ++tail) {
    const size_t start = text.size() - tail;
    const uint32_t length = classify(byte_at(text, start)).length;
    if (length <= 1) continue;
    const DecodedCodepoint decoded = decode_utf8(text, start);
    return !decoded.valid && decoded.length == tail && tail < length ? start : text.size();
  }
  return text.size();
}

}  // namespace nanochat
