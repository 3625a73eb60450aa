#include "tokenizer/byte_alphabet.h"

#include <array>

#include "base/utf8.h"

namespace nanochat {

namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  std::array<char32_t, 256> of_byte{};
  std::array<int16_t, 0x144> of_codepoint{};

  constexpr Alphabet() {
    for (int16_t& byte : of_codepoint) byte = -1;
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      of_byte[byte] = stands_for_itself(byte) ? byte : next++;
      of_codepoint[of_byte[byte]] = static_cast<int16_t>(byte);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

char32_t byte_to_alphabet(uint8_t byte) { return kAlphabet.of_byte[byte]; }

int alphabet_to_byte(char32_t codepoint) {
  return codepoint < kAlphabet.of_codepoint.size() ? kAlphabet.of_codepoint[codepoint] : -1;
}

std::string to_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) append_utf8(text, byte_to_alphabet(static_cast<uint8_t>(c)));
  return text;
}

bool from_alphabet(std::string_view text, std::string& bytes) {
  bytes.clear();
  for (size_t position = 0; position < text.size();) {
    const DecodedCodepoint c = decode_utf8(text, position);
    const int byte = c.valid ? alphabet_to_byte(c.codepoint) : -1;
    if (byte < 0) return false;
    bytes.push_back(static_cast<char>(byte));
    position += c.length;
  }
  return true;
}

}  // namespace nanochat
