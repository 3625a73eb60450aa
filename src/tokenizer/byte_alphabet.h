// GPT-2's one-to-one map of the 256 bytes to printable characters, in which tokenizer.json writes byte-level
// tokens: printable Latin-1 stands for itself, the other 68 bytes are U+0100.. in order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nanochat {

char32_t byte_to_alphabet(uint8_t byte);
int alphabet_to_byte(char32_t codepoint);  // -1: not in the alphabet

std::string to_alphabet(std::string_view bytes);
bool from_alphabet(std::string_view text, std::string& bytes);  // false: some character is not in it

}  // namespace nanochat
