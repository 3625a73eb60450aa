// Python values and the arithmetic part of the calculator's language.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "infer/big_integer.h"

namespace nanochat {

struct EmptyTuple {};
struct Ellipsis {};
using PythonValue = std::variant<BigInteger, double, bool, std::string, EmptyTuple, Ellipsis>;

inline constexpr size_t kMaxNestedParentheses = 200;
inline constexpr size_t kMaxIntegerDigits = 4300;

// The text of str(value); none for an integer of more than kMaxIntegerDigits digits.
std::optional<std::string> python_str(const PythonValue& value);

// Reads the number literal at the start of `text` and removes it; none if Python would refuse it there.
std::optional<PythonValue> take_number(std::string_view& text);

// `text` holds only the characters "0123456789*+-/.() ".
std::optional<PythonValue> evaluate_arithmetic(std::string_view text);

}  // namespace nanochat
