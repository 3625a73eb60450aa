// The calculator that nanochat's models call between <|python_start|> and <|python_end|>.
//
// The expression is a small part of Python, evaluated by a parser of our own. All commas are removed first.
//
//   1. Arithmetic, if every character is one of "0123456789*+-/.() " and "**" does not occur: integers of any
//      size, floats, + - * / // and parentheses, with Python's rounding. Two accidents of the language are
//      kept because the reference answers them: "()" is the empty tuple and "..." is Ellipsis.
//   2. Otherwise counting, if every character is a letter, a digit, a space or one of '"()._ and ".count("
//      occurs: string literals (adjacent ones join) with .count('x'), .lower(), .upper(), .strip(),
//      .lstrip(), .rstrip(), numbers, True, False, not, and, or, parentheses. An expression that contains
//      one of the reference's forbidden words (file, dir, input ...), even inside a literal, has no result.
//
// The text is what Python's str() gives: "2.5", "1e+22", "True". Whatever else comes in has no result, never
// an error: a model can write anything. Bounds: 4096 bytes, 200 nested parentheses and, as Python, 4300
// digits of an integer; time is bounded by these (at most a few milliseconds).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nanochat {

std::optional<std::string> use_calculator(std::string_view expression);

}  // namespace nanochat
