// UTF-8 as Unicode 15 section 3.9 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nanochat {

struct DecodedCodepoint {
  char32_t codepoint;  // U+FFFD if invalid
  uint32_t length;     // bytes consumed: of the sequence, or of the maximal invalid subpart (>= 1)
  bool valid;
};

DecodedCodepoint decode_utf8(std::string_view text, size_t position);  // position < text.size()
void append_utf8(std::string& out, char32_t codepoint);
bool is_valid_utf8(std::string_view text);
size_t first_invalid_utf8(std::string_view text);  // text.size() if none

// One U+FFFD per maximal invalid subpart, as Python's errors="replace".
std::string replace_invalid_utf8(std::string_view text);

// Length of the longest prefix that does not end inside a sequence that more bytes could complete.
// Invalid bytes count as complete.
size_t complete_utf8_prefix(std::string_view text);

}  // namespace nanochat
