#include "tokenizer/regex_translator.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <utf8proc.h>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"
#include "tokenizer/regex_class.h"
#include "tokenizer/regex_reader.h"

namespace nanochat {

namespace {

constexpr size_t kMaxPattern = 1 << 14;  // bytes
constexpr size_t kMaxNesting = 100;

// Case folding of more than one character, "ss" and U+00DF, is Oniguruma's alone.
bool folds_to_several(char32_t c) {
  if (c < 0x80) return false;
  utf8proc_int32_t parts[8];
  return utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_CASEFOLD, nullptr) > 1;
}
bool pair_is_folded_to(char32_t first, char32_t second) {
  const auto lower = [](char32_t c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == 0x17f ? U's' : c; };
  first = lower(first), second = lower(second);
  return (first == 's' && (second == 's' || second == 't')) ||
         (first == 'f' && (second == 'f' || second == 'i' || second == 'l'));
}

class Translator : private RegexReader {
 public:
  explicit Translator(std::string_view pattern) : RegexReader(pattern) {}

  std::string run() {
    if (pattern_.size() > kMaxPattern) {
      unsupported(0, format_text("{} bytes, at most {} are possible", pattern_.size(), kMaxPattern));
    }
    if (!is_valid_utf8(pattern_)) invalid(first_invalid_utf8(pattern_), "no UTF-8");
    groups_.emplace_back();
    while (at_ < pattern_.size()) element();
    if (groups_.size() > 1) invalid(at_, "a group that is not closed");
    close_options(groups_.back());
    return std::move(out_);
  }

 private:
  static constexpr size_t kNothing = SIZE_MAX;

  struct Options {
    bool ignore_case = false, dot_all = false, extended = false;
  };
  struct Group {
    Options outer;
    size_t begin = 0;        // in out_
    size_t n_options = 0;    // options set inside, each a group of its own
    bool repeatable = true;  // no look-around
  };

  // --- Outside brackets

  void element() {
    if (options_.extended && skip_comment()) return;
    const size_t begin = at_;
    const char c = pattern_[at_];
    if (c == '(') return open_group();
    if (c == ')') return close_group();
    if (c == '|') {
      ++at_;
      out_ += '|';
      atom_ = kNothing;
      last_ = 0;
    } else if (c == '*' || c == '+' || c == '?' || (c == '{' && is_interval())) {
      quantifier();
    } else if (c == '[') {
      atom(char_class().text());
    } else if (c == '.') {
      ++at_;
      atom(options_.dot_all ? "(?s:.)" : ".");
    } else if (c == '^' || c == '$') {
      ++at_;
      assertion(std::string(1, c));
    } else if (c == '\\') {
      ++at_;
      escape(begin);
    } else {
      literal(take_character(), begin);
    }
  }

  bool skip_comment() {
    const size_t begin = at_;
    while (at_ < pattern_.size()) {
      if (std::string_view(" \t\n\r\f\v").find(pattern_[at_]) != std::string_view::npos) {
        ++at_;
      } else if (pattern_[at_] == '#') {
        at_ = std::min(pattern_.find('\n', at_), pattern_.size());
      } else {
        break;
      }
    }
    return at_ != begin;
  }

  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
    last_ = 0;
  }
  void assertion(std::string_view text) {
    atom(text);
    atom_ = kNothing;
  }

  void literal(char32_t c, size_t begin) {
    if (options_.ignore_case) {
      check_fold(c, begin);
      if (pair_is_folded_to(last_, c) || (c >= 0x300 && c < 0x370)) {
        unsupported(begin, "letters that ignoring case may join to one, like ss");
      }
    }
    atom(regex_codepoint(c));
    last_ = c;
  }
  void check_fold(char32_t c, size_t begin) const {
    if (folds_to_several(c)) {
      unsupported(begin,
                  format_text("{} where case is ignored: it stands for several letters", regex_codepoint(c)));
    }
  }

  void escape(size_t begin) {
    const char32_t c = take_character();
    if (c == 'p' || c == 'P') {
      RegexClass found;
      if (property(c == 'P', begin, found)) return atom(found.text());
      return literal(c, begin);
    }
    if (c == 'b' || c == 'B') return boundary(c == 'b');
    RegexClass found;
    if (c < 0x80 && regex_class_of_letter(static_cast<char>(c), RegexPlace::outside, found))
      return atom(found.text());
    switch (c) {
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
        return assertion("\\" + std::string(1, static_cast<char>(c)));
      case 'R':
        return atom("\\R");
      case 'N':
        return atom("[^\\n]");
      case 'O':
        return atom("(?s:.)");
      case 'k':
        return named_reference(begin);
      case 'X':
      case 'K':
      case 'g':
      case 'y':
      case 'Y':
        unsupported(begin, format_text("\\{}", std::string(1, static_cast<char>(c))));
      default:
        break;
    }
    if (c >= '1' && c <= '9') {
      const bool more = at_ < pattern_.size() && pattern_[at_] >= '0' && pattern_[at_] <= '9';
      if (more || has_names_) unsupported(begin, "a reference or a character by more than one digit");
      return atom("\\g{" + std::string(1, static_cast<char>(c)) + "}");
    }
    literal(escaped_character(c, begin), begin);
  }

  // At the edge of a word, a word being made of \w.
  void boundary(bool wanted) {
    RegexClass word;
    regex_class_of_letter('w', RegexPlace::outside, word);
    const std::string w = word.text();
    if (wanted) {
      assertion("(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))");
    } else {
      assertion("(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + ")(?!" + w + "))");
    }
  }

  void named_reference(size_t begin) {
    if (!take("<")) unsupported(begin, "\\k without <name>");
    atom("\\k{" + take_name(begin) + "}");
  }

  // --- Repetition

  void quantifier() {
    const size_t begin = at_;
    if (atom_ == kNothing) invalid(begin, "nothing to repeat");
    if (repeated_ == atom_ && repeated_end_ == out_.size()) wrap();  // what is repeated is repeated again
    if (pattern_[at_] == '{') {
      interval(begin);
    } else {
      out_ += pattern_[at_++];
      if (at_ < pattern_.size() && (pattern_[at_] == '?' || pattern_[at_] == '+')) out_ += pattern_[at_++];
    }
    repeated_ = atom_;
    repeated_end_ = out_.size();
  }
  void wrap() {
    out_.insert(atom_, "(?:");
    out_ += ')';
  }
  void interval(size_t begin) {
    const size_t end = pattern_.find('}', at_);
    const std::string_view inside = pattern_.substr(at_ + 1, end - at_ - 1);
    const size_t comma = inside.find(',');
    const uint32_t low = count(inside.substr(0, comma), 0, begin);
    const uint32_t high =
        comma == std::string_view::npos ? low : count(inside.substr(comma + 1), UINT32_MAX, begin);
    if (low > high) unsupported(begin, "a repetition whose first number is larger than its second");
    at_ = end + 1;
    out_ += "{" + std::to_string(low) +
            (high == low ? "" : "," + (high == UINT32_MAX ? "" : std::to_string(high))) + "}";
    if (at_ >= pattern_.size() || pattern_[at_] != '?') return;
    if (comma != std::string_view::npos) {
      out_ += pattern_[at_++];
      return;
    }
    ++at_;
    wrap();
    out_ += '?';
  }
  // --- Groups

  void open_group() {
    const size_t begin = at_++;
    if (groups_.size() > kMaxNesting) unsupported(begin, "groups in groups without end");
    if (has("*")) unsupported(begin, "(*");
    std::string head = "(";
    bool repeatable = true;
    if (take("?#")) {
      at_ = pattern_.find(')', at_);
      if (at_ == std::string_view::npos) invalid(begin, "a comment that is not closed");
      ++at_;
      return;
    }
    if (take("?")) {
      static constexpr std::string_view kHeads[] = {":", "=", "!", "<=", "<!", ">"};
      const auto known =
          std::find_if(std::begin(kHeads), std::end(kHeads), [&](auto text) { return take(text); });
      if (known != std::end(kHeads)) {
        head += "?" + std::string(*known);
        repeatable = *known == ":" || *known == ">";
      } else if (take("<")) {
        head += "?<" + take_name(begin) + ">";
        has_names_ = true;
      } else {
        return open_options(begin);
      }
    }
    groups_.push_back({options_, out_.size(), 0, repeatable});
    assertion(head);
  }

  // (?im-x) up to the end of the group it stands in, or (?im-x:...).
  void open_options(size_t begin) {
    const Options outer = options_;
    for (bool on = true;;) {
      const char32_t c = take_character();
      if (c == '-') {
        on = false;
      } else if (c == 'i') {
        options_.ignore_case = on;
      } else if (c == 'm') {
        options_.dot_all = on;
      } else if (c == 'x') {
        options_.extended = on;
      } else if (c == ':' || c == ')') {
        const size_t start = out_.size();
        assertion(options_.ignore_case ? "(?i:" : "(?-i:");
        if (c == ':') {
          groups_.push_back({outer, start, 0, true});
        } else {
          ++groups_.back().n_options;
        }
        return;
      } else {
        unsupported(begin,
                    format_text("the group (?{}", excerpt(pattern_.substr(begin + 2, at_ - begin - 2))));
      }
    }
  }

  void close_options(const Group& group) { out_.append(group.n_options, ')'); }
  void close_group() {
    if (groups_.size() == 1) invalid(at_, "a group is closed that is not open");
    ++at_;
    const Group group = groups_.back();
    groups_.pop_back();
    close_options(group);
    out_ += ')';
    options_ = group.outer;
    atom_ = group.repeatable ? group.begin : kNothing;
    last_ = 0;
  }

  // --- Brackets

  RegexClass char_class() {
    const size_t begin = at_++;
    if (++class_depth_ > kMaxNesting) unsupported(begin, "classes in classes without end");
    const bool negated = take("^");
    std::vector<RegexClass> operands(1);
    for (bool is_first = true; !take("]") || is_first; is_first = false) {
      if (at_ >= pattern_.size()) invalid(begin, "a class that is not closed");
      if (is_first && pattern_[at_ - 1] == ']') {
        add_character(']', begin, operands.back());  // take() above took it
      } else if (take("&&")) {
        operands.emplace_back();
      } else {
        class_item(operands.back());
      }
    }
    --class_depth_;
    RegexClass found;
    if (operands.size() == 1) {
      found = std::move(operands[0]);
      if (found.body.empty() && found.members.empty()) invalid(begin, "a class without characters");
    } else {
      found.kind = RegexClass::Kind::of_all;
      for (const RegexClass& operand : operands) {
        if (operand.body.empty() && operand.members.empty())
          unsupported(begin, "&& without characters beside it");
      }
      found.members = std::move(operands);
    }
    found.negated = negated;
    return found;
  }

  static void add(RegexClass&& member, RegexClass& to) {
    if (!member.negated && member.members.empty()) {
      to.body += member.body;
    } else {
      to.members.push_back(std::move(member));
    }
  }

  void class_item(RegexClass& to) {
    const size_t begin = at_;
    if (has("[:") && posix_class(to)) return;
    if (has("[")) return add(char_class(), to);
    if (take("\\")) {
      const char32_t c = take_character();
      RegexClass found;
      if (c == 'p' || c == 'P') {
        if (property(c == 'P', begin, found)) return add(std::move(found), to);
      } else if (c < 0x80 &&
                 regex_class_of_letter(static_cast<char>(c), RegexPlace::inside_brackets, found)) {
        return add(std::move(found), to);
      } else if (c == 'R' || c == 'X') {
        unsupported(begin, format_text("\\{} in a class", std::string(1, static_cast<char>(c))));
      }
      return add_character(class_escape(c, begin), begin, to);
    }
    add_character(take_character(), begin, to);
  }
  char32_t class_escape(char32_t c, size_t begin) {
    if (c >= '1' && c <= '9') unsupported(begin, "an octal number");
    return c == 'b' ? 8 : escaped_character(c, begin);
  }

  bool posix_class(RegexClass& to) {
    const size_t end = pattern_.find(":]", at_ + 2);
    if (end == std::string_view::npos) return false;
    std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negated = !name.empty() && name[0] == '^';
    if (negated) name.remove_prefix(1);
    if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      return false;
    RegexClass found;
    if (!regex_class_of_posix(name, found)) unsupported(at_, format_text("the class [:{}:]", name));
    found.negated = negated;
    at_ = end + 2;
    add(std::move(found), to);
    return true;
  }

  // `first`, or a range from it.
  void add_character(char32_t first, size_t begin, RegexClass& to) {
    char32_t last = first;
    const bool is_range = has("-") && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
    if (is_range) {
      ++at_;
      if (has("[")) unsupported(at_, "a range up to a class");
      last = take_character();
      if (last == '\\') {
        const char32_t c = take_character();
        RegexClass none;
        if (c == 'p' || c == 'P' ||
            (c < 0x80 && regex_class_of_letter(static_cast<char>(c), RegexPlace::outside, none))) {
          invalid(begin, "a range up to a class");
        }
        last = class_escape(c, begin);
      }
      if (last < first) invalid(begin, "a range that ends before it begins");
    }
    if (options_.ignore_case) {
      for (char32_t c = first; c <= std::min<char32_t>(last, 0x1fff); ++c) check_fold(c, begin);
      for (char32_t c = std::max<char32_t>(first, 0xfb00); c <= std::min<char32_t>(last, 0xfb17); ++c)
        check_fold(c, begin);
    }
    to.body += regex_codepoint(first);
    if (is_range) to.body += "-" + regex_codepoint(last);
  }

  std::string out_;
  Options options_;
  std::vector<Group> groups_;
  size_t class_depth_ = 0;
  size_t atom_ = kNothing;      // where in out_ what a quantifier would repeat begins
  size_t repeated_ = kNothing;  // the atom that has a quantifier, and where that ends
  size_t repeated_end_ = 0;
  char32_t last_ = 0;  // the character before, if it is one
  bool has_names_ = false;
};

}  // namespace

std::string translate_regex(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace nanochat
