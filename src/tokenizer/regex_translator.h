// Regular expressions of tokenizer.json are written for Oniguruma. This writes them for PCRE2 with the same
// meaning, and refuses by name what has none there.
//
// What differs: {n,m}+ repeats instead of being possessive, {n}? means optional, {,n} has a lower bound of 0;
// \w knows marks and letter-like symbols; \s does not know U+180E; \h is a hexadecimal digit; (?m) is PCRE2's
// (?s); an option in the middle of a group holds to its end, across |; classes nest and intersect; characters
// of Unicode 15 and 16.
#pragma once

#include <string>
#include <string_view>

namespace nanochat {

// Throws format_unsupported or format_invalid naming the pattern and the place.
std::string translate_regex(std::string_view pattern);

}  // namespace nanochat
