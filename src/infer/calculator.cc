#include "infer/calculator.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "infer/arithmetic.h"

namespace nanochat {
namespace {

constexpr size_t kMaxExpressionBytes = 4096;
constexpr std::string_view kArithmeticCharacters = "0123456789*+-/.() ";

// Words that the reference refuses anywhere in a counting expression, whatever their case.
constexpr std::array<std::string_view, 17> kForbiddenWords = {
    "__",      "import", "exec", "eval", "compile", "open",    "file",    "input",  "raw_input",
    "globals", "locals", "vars", "dir",  "getattr", "setattr", "delattr", "hasattr"};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_character(char c) { return is_letter(c) || is_digit(c) || c == '_'; }
char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string map_characters(std::string text, char (*change)(char)) {
  std::transform(text.begin(), text.end(), text.begin(), change);
  return text;
}

bool may_be_counting(std::string_view text) {
  const bool allowed = std::all_of(text.begin(), text.end(), [](char c) {
    return is_name_character(c) || std::string_view("'\"(). ").find(c) != std::string_view::npos;
  });
  if (!allowed || text.find(".count(") == std::string_view::npos) return false;
  const std::string lower = map_characters(std::string(text), to_lower);
  return std::none_of(kForbiddenWords.begin(), kForbiddenWords.end(),
                      [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

// Occurrences that do not overlap; the empty needle stands before, between and behind all characters.
uint64_t count_occurrences(std::string_view text, std::string_view needle) {
  if (needle.empty()) return text.size() + 1;
  uint64_t count = 0;
  for (size_t at = text.find(needle); at != std::string_view::npos;
       at = text.find(needle, at + needle.size())) {
    ++count;
  }
  return count;
}

std::string strip(std::string text, bool left, bool right) {
  if (right) text.erase(text.find_last_not_of(' ') + 1);
  if (left) text.erase(0, text.find_first_not_of(' '));
  return text;
}

std::optional<std::string> call_without_argument(std::string_view method, const std::string& text) {
  if (method == "lower") return map_characters(text, to_lower);
  if (method == "upper") return map_characters(text, to_upper);
  if (method == "strip") return strip(text, true, true);
  if (method == "lstrip") return strip(text, true, false);
  if (method == "rstrip") return strip(text, false, true);
  return std::nullopt;
}

bool is_true(const PythonValue& value) {
  if (const auto* integer = std::get_if<BigInteger>(&value)) return !integer->is_zero();
  if (const auto* real = std::get_if<double>(&value)) return *real != 0;
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean;
  if (const auto* text = std::get_if<std::string>(&value)) return !text->empty();
  return std::holds_alternative<Ellipsis>(value);
}

// either: both ('or' both)*          both: inverse ('and' inverse)*       inverse: 'not'* call
// call: atom ('.' name '(' [either] ')')*
// atom: string+ | number | 'True' | 'False' | '(' [either] ')'
// Operands that Python would not evaluate are evaluated too: they have no effect, but must be valid.
class CountingParser {
 public:
  explicit CountingParser(std::string_view text) : rest_(text) {}

  std::optional<PythonValue> parse() {
    std::optional<PythonValue> value = either();
    skip_spaces();
    return rest_.empty() ? value : std::nullopt;
  }

 private:
  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  bool take(char c) {
    skip_spaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string_view next_name() {
    skip_spaces();
    if (rest_.empty() || is_digit(rest_[0])) return {};
    size_t end = 0;
    while (end < rest_.size() && is_name_character(rest_[end])) ++end;
    return rest_.substr(0, end);
  }

  bool take_word(std::string_view word) {
    if (next_name() != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  std::optional<PythonValue> either() {
    std::optional<PythonValue> value = both();
    while (value && take_word("or")) {
      std::optional<PythonValue> right = both();
      if (!right) return std::nullopt;
      if (!is_true(*value)) value = std::move(right);
    }
    return value;
  }

  std::optional<PythonValue> both() {
    std::optional<PythonValue> value = inverse();
    while (value && take_word("and")) {
      std::optional<PythonValue> right = inverse();
      if (!right) return std::nullopt;
      if (is_true(*value)) value = std::move(right);
    }
    return value;
  }

  std::optional<PythonValue> inverse() {
    size_t n_not = 0;
    while (take_word("not")) ++n_not;
    std::optional<PythonValue> value = call();
    if (!value || n_not == 0) return value;
    return is_true(*value) == (n_not % 2 == 0);
  }

  std::optional<PythonValue> call() {
    std::optional<PythonValue> value = atom();
    while (value && take('.')) {
      const std::string_view method = next_name();
      rest_.remove_prefix(method.size());
      const auto* text = std::get_if<std::string>(&*value);
      if (text == nullptr || !take('(')) return std::nullopt;
      value = method == "count" ? count(*text) : without_argument(method, *text);
    }
    return value;
  }

  std::optional<PythonValue> count(const std::string& text) {
    const std::optional<PythonValue> argument = parenthesised();
    if (!argument) return std::nullopt;
    const auto* needle = std::get_if<std::string>(&*argument);
    if (needle == nullptr) return std::nullopt;
    return BigInteger(count_occurrences(text, *needle));
  }

  std::optional<PythonValue> without_argument(std::string_view method, const std::string& text) {
    std::optional<std::string> result = call_without_argument(method, text);
    if (!result || !take(')')) return std::nullopt;
    return *result;
  }

  std::optional<PythonValue> atom() {
    skip_spaces();
    if (rest_.empty()) return std::nullopt;
    if (rest_[0] == '\'' || rest_[0] == '"') return strings();
    if (take_word("True")) return true;
    if (take_word("False")) return false;
    if (take('(')) return take(')') ? EmptyTuple{} : parenthesised();
    return number();
  }

  // What stands behind an opening parenthesis, with the closing one.
  std::optional<PythonValue> parenthesised() {
    if (++depth_ > kMaxNestedParentheses) return std::nullopt;
    std::optional<PythonValue> value = either();
    --depth_;
    return take(')') ? value : std::nullopt;
  }

  std::optional<PythonValue> number() {
    std::optional<PythonValue> value = take_number(rest_);
    const bool runs_on = !rest_.empty() && is_name_character(rest_[0]);  // 1e5, 0x1f, 1_000
    return runs_on ? std::nullopt : value;
  }

  std::optional<PythonValue> strings() {
    std::string joined;
    for (skip_spaces(); !rest_.empty() && (rest_[0] == '\'' || rest_[0] == '"'); skip_spaces()) {
      const std::string triple(3, rest_[0]);
      const std::string quote = rest_.starts_with(triple) ? triple : triple.substr(0, 1);
      rest_.remove_prefix(quote.size());
      const size_t end = rest_.find(quote);
      if (end == std::string_view::npos) return std::nullopt;
      joined += rest_.substr(0, end);
      rest_.remove_prefix(end + quote.size());
    }
    return joined;
  }

  std::string_view rest_;
  size_t depth_ = 0;
};

}  // namespace

std::optional<std::string> use_calculator(std::string_view expression) {
  if (expression.size() > kMaxExpressionBytes) return std::nullopt;
  std::string text(expression);
  std::erase(text, ',');
  std::optional<PythonValue> value;
  if (text.find_first_not_of(kArithmeticCharacters) == std::string::npos) {
    if (text.find("**") != std::string::npos) return std::nullopt;
    value = evaluate_arithmetic(text);
  } else if (may_be_counting(text)) {
    value = CountingParser(text).parse();
  }
  return value ? python_str(*value) : std::nullopt;
}

}  // namespace nanochat
