// Where the Hugging Face library sees characters differently from utf8proc (Unicode 15) and PCRE2 (14): its
// parts are of Unicode 8, 9, 16 and 17. All tables are sorted. character_sets.h is what asks them.
#pragma once

#include <cstdint>
#include <span>

namespace nanochat {

struct CodepointRange {
  char32_t first, last;
};

struct LaterCase {
  char32_t first, last, lower_of_first;
};

struct LaterCharacters {
  char32_t first, last;
  const char* category;  // two letters
};

std::span<const CodepointRange> not_nonspacing();
std::span<const CodepointRange> not_combining();
std::span<const CodepointRange> not_punctuation();
std::span<const CodepointRange> later_numbers();
std::span<const CodepointRange> not_decomposed();
std::span<const LaterCase> later_cases();
std::span<const LaterCharacters> later_characters();

}  // namespace nanochat
