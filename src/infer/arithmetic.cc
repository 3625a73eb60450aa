#include "infer/arithmetic.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace nanochat {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Python's repr: the shortest digits that round-trip; an exponent below 1e-4 and from 1e16 on.
std::string python_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(scientific.ptr - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const size_t sign = text[e + 1] == '+' ? 1 : 0;
  std::from_chars(text.data() + e + 1 + sign, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  std::string result(buffer, fixed.ptr);
  if (result.find('.') == std::string::npos) result += ".0";
  return result;
}

double parse_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc::result_out_of_range) return value;
  const std::string_view whole = text.substr(0, text.find('.'));
  const bool is_large = whole.find_first_not_of('0') != std::string_view::npos;
  return is_large ? std::numeric_limits<double>::infinity() : 0.0;
}

// The rounding of CPython: exact remainder first, then a correction towards the floor.
double python_floor_divide(double a, double b) {
  const double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (b < 0) != (remainder < 0)) quotient -= 1.0;
  if (quotient == 0) return std::copysign(0.0, a / b);
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1.0;
  return floored;
}

enum class Operation { add, subtract, multiply, divide, floor_divide };

std::optional<PythonValue> apply_to_integers(Operation operation, const BigInteger& a, const BigInteger& b) {
  const bool divides = operation == Operation::divide || operation == Operation::floor_divide;
  if (divides && b.is_zero()) return std::nullopt;
  switch (operation) {
    case Operation::add:
      return a + b;
    case Operation::subtract:
      return a - b;
    case Operation::multiply:
      return a * b;
    case Operation::floor_divide:
      return a.floor_divide(b);
    case Operation::divide:
      break;
  }
  const std::optional<double> quotient = a.divide(b);
  if (!quotient) return std::nullopt;
  return *quotient;
}

std::optional<PythonValue> apply_to_doubles(Operation operation, double a, double b) {
  const bool divides = operation == Operation::divide || operation == Operation::floor_divide;
  if (divides && b == 0) return std::nullopt;
  switch (operation) {
    case Operation::add:
      return a + b;
    case Operation::subtract:
      return a - b;
    case Operation::multiply:
      return a * b;
    case Operation::divide:
      return a / b;
    case Operation::floor_divide:
      return python_floor_divide(a, b);
  }
  return std::nullopt;
}

// () + () and () times an integer are the empty tuple again.
std::optional<PythonValue> apply_to_tuple(Operation operation, const PythonValue& a, const PythonValue& b) {
  const bool both = std::holds_alternative<EmptyTuple>(a) && std::holds_alternative<EmptyTuple>(b);
  if (operation == Operation::add && both) return EmptyTuple{};
  const BigInteger* times = std::get_if<BigInteger>(&a);
  if (times == nullptr) times = std::get_if<BigInteger>(&b);
  if (operation == Operation::multiply && times != nullptr && times->fits_in_int64()) return EmptyTuple{};
  return std::nullopt;
}

std::optional<double> as_double(const PythonValue& value) {
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* integer = std::get_if<BigInteger>(&value)) return integer->to_double();
  return std::nullopt;
}

std::optional<PythonValue> apply(Operation operation, const PythonValue& a, const PythonValue& b) {
  const auto* integer_a = std::get_if<BigInteger>(&a);
  const auto* integer_b = std::get_if<BigInteger>(&b);
  if (integer_a != nullptr && integer_b != nullptr)
    return apply_to_integers(operation, *integer_a, *integer_b);
  if (std::holds_alternative<EmptyTuple>(a) || std::holds_alternative<EmptyTuple>(b)) {
    return apply_to_tuple(operation, a, b);
  }
  const std::optional<double> real_a = as_double(a), real_b = as_double(b);
  if (!real_a || !real_b) return std::nullopt;
  return apply_to_doubles(operation, *real_a, *real_b);
}

// sum: product (('+' | '-') product)*     product: signed (('*' | '/' | '//') signed)*
// signed: ('+' | '-')* atom               atom: number | '(' [sum] ')' | '...'
class ArithmeticParser {
 public:
  explicit ArithmeticParser(std::string_view text) : rest_(text) {}

  std::optional<PythonValue> parse() {
    std::optional<PythonValue> value = sum();
    skip_spaces();
    return rest_.empty() ? value : std::nullopt;
  }

 private:
  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  bool take(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  std::optional<PythonValue> sum() {
    std::optional<PythonValue> value = product();
    while (value) {
      Operation operation;
      if (take("+"))
        operation = Operation::add;
      else if (take("-"))
        operation = Operation::subtract;
      else
        break;
      const std::optional<PythonValue> right = product();
      if (!right) return std::nullopt;
      value = apply(operation, *value, *right);
    }
    return value;
  }

  std::optional<PythonValue> product() {
    std::optional<PythonValue> value = signed_atom();
    while (value) {
      Operation operation;
      if (take("*"))
        operation = Operation::multiply;
      else if (take("//"))
        operation = Operation::floor_divide;
      else if (take("/"))
        operation = Operation::divide;
      else
        break;
      const std::optional<PythonValue> right = signed_atom();
      if (!right) return std::nullopt;
      value = apply(operation, *value, *right);
    }
    return value;
  }

  std::optional<PythonValue> signed_atom() {
    bool has_sign = false, negative = false;
    while (true) {
      if (take("-"))
        negative = !negative;
      else if (!take("+"))
        break;
      has_sign = true;
    }
    std::optional<PythonValue> value = atom();
    if (!value || !has_sign) return value;
    if (auto* integer = std::get_if<BigInteger>(&*value)) return negative ? -*integer : *integer;
    if (auto* real = std::get_if<double>(&*value)) return negative ? -*real : *real;
    return std::nullopt;
  }

  std::optional<PythonValue> atom() {
    if (take("...")) return Ellipsis{};
    if (!take("(")) return take_number(rest_);
    if (take(")")) return EmptyTuple{};
    if (++depth_ > kMaxNestedParentheses) return std::nullopt;
    std::optional<PythonValue> value = sum();
    --depth_;
    return take(")") ? value : std::nullopt;
  }

  std::string_view rest_;
  size_t depth_ = 0;
};

}  // namespace

std::optional<std::string> python_str(const PythonValue& value) {
  if (const auto* integer = std::get_if<BigInteger>(&value)) {
    std::string text = integer->to_string();
    if (text.size() - (integer->is_negative() ? 1 : 0) > kMaxIntegerDigits) return std::nullopt;
    return text;
  }
  if (const auto* real = std::get_if<double>(&value)) return python_repr(*real);
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "True" : "False";
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return std::holds_alternative<EmptyTuple>(value) ? "()" : "Ellipsis";
}

std::optional<PythonValue> take_number(std::string_view& text) {
  size_t end = 0;
  while (end < text.size() && is_digit(text[end])) ++end;
  const size_t whole_digits = end;
  bool is_real = false;
  if (end < text.size() && text[end] == '.') {
    is_real = true;
    ++end;
    while (end < text.size() && is_digit(text[end])) ++end;
    if (end == 1) return std::nullopt;  // a dot alone
  }
  if (end == 0) return std::nullopt;
  const std::string_view literal = text.substr(0, end);
  text.remove_prefix(end);
  if (is_real) return parse_double(literal);
  const bool is_zero = literal.find_first_not_of('0') == std::string_view::npos;
  if (is_zero) return BigInteger();
  if (literal[0] == '0' || whole_digits > kMaxIntegerDigits) return std::nullopt;  // 007 is not Python
  return BigInteger::from_decimal(literal);
}

std::optional<PythonValue> evaluate_arithmetic(std::string_view text) {
  return ArithmeticParser(text).parse();
}

}  // namespace nanochat
