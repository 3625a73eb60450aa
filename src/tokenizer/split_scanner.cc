#include "tokenizer/split_scanner.h"

#include <algorithm>

#include "tokenizer/ascii_scanner.h"
#include "tokenizer/unicode_classes.h"

namespace nanochat {

namespace {

constexpr uint16_t kWordStart = kCharUpper | kCharUncased | kCharMark;  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
constexpr uint16_t kWordRest = kCharLower | kCharUncased | kCharMark;   // [\p{Ll}\p{Lm}\p{Lo}\p{M}]

// Each member tries one alternative of a pattern at `begin` and gives its end, or `begin` if it fails.
class Scanner {
 public:
  Scanner(const SplitRules& rules, std::string_view text)
      : rules_(rules), text_(text), classes_(CharClasses::table()) {}

  // Whether any piece so far might have been another one had the text gone on.
  bool has_seen_the_end() const { return has_seen_the_end_; }

  size_t piece(size_t begin) {
    const ClassedChar first = at(begin);
    size_t end = begin;
    if (rules_.words != SplitRules::Words::by_case) end = contraction(begin);
    if (end == begin) end = word(begin, first);
    if (end == begin) end = number(begin, first);
    if (end == begin) end = symbols(begin, first);
    if (end == begin) end = spaces(begin);
    return end;
  }

 private:
  ClassedChar at(size_t position) {
    const ClassedChar c = classed_char_at(classes_, text_, position);
    has_seen_the_end_ |= c.length == 1 && c.codepoint == 0xfffd && text_.size() - position < 4;
    return c;
  }
  bool inside(size_t position) {
    has_seen_the_end_ |= position >= text_.size();
    return position < text_.size();
  }

  size_t run(size_t position, uint16_t wanted) {
    while (inside(position)) {
      const ClassedChar c = at(position);
      if (!c.is(wanted)) break;
      position += c.length;
    }
    return position;
  }

  // The letter at `position`, folded to lower case if the rule ignores case. In Unicode's simple folding the
  // letters of the contractions have one partner outside ASCII: U+017F LONG S, which folds to s.
  char folded(size_t position, uint32_t& length) {
    length = 0;
    if (!inside(position)) return 0;
    const ClassedChar c = at(position);
    length = c.length;
    if (rules_.contractions == SplitRules::Contractions::any_case) {
      if (c.codepoint == 0x17f) return 's';
      if (c.codepoint >= 'A' && c.codepoint <= 'Z') return static_cast<char>(c.codepoint - 'A' + 'a');
    }
    return c.codepoint < 128 ? static_cast<char>(c.codepoint) : '\0';
  }

  // '(?:[sdmt]|ll|ve|re)
  size_t contraction(size_t begin) {
    if (rules_.contractions == SplitRules::Contractions::none || !inside(begin) || text_[begin] != '\'') {
      return begin;
    }
    uint32_t length = 0;
    const char first = folded(begin + 1, length);
    if (first == 's' || first == 'd' || first == 'm' || first == 't') return begin + 1 + length;
    const char partner = first == 'l' ? 'l' : first == 'v' || first == 'r' ? 'e' : '\0';
    if (partner == '\0') return begin;
    const size_t second = begin + 1 + length;
    return folded(second, length) == partner ? second + length : begin;
  }

  size_t word(size_t begin, const ClassedChar& first) {
    if (rules_.words == SplitRules::Words::by_case) return cased_word(begin, first);
    if (first.is(kCharLetter)) return run(begin + first.length, kCharLetter);
    const bool may_lead = rules_.words == SplitRules::Words::after_space
                              ? first.codepoint == ' '
                              : !first.is(kCharNumber | kCharLineBreak);
    const size_t start = begin + first.length;
    if (!may_lead || !inside(start) || !at(start).is(kCharLetter)) return begin;
    return run(start, kCharLetter);
  }

  // The two word alternatives of o200k, each first with, then without the leading character. The leading
  // character may be a mark, which is why "without" can match where "with" did not.
  size_t cased_word(size_t begin, const ClassedChar& first) {
    const bool may_lead = !first.is(kCharLetter | kCharNumber | kCharLineBreak);
    const size_t after = begin + first.length;
    size_t end = begin;
    if (may_lead) end = some_lower(after, begin);
    if (end == begin) end = some_lower(begin, begin);
    if (end == begin && may_lead) end = some_upper(after, begin);
    if (end == begin) end = some_upper(begin, begin);
    return end == begin ? begin : contraction(end);
  }

  // [start]*[rest]+ : greedy, so all of the run of word starts, then all of the rest; if there is no rest,
  // the run gives back characters until the last one of it that also counts as rest.
  size_t some_lower(size_t position, size_t failed) {
    size_t last_both_end = failed;
    while (inside(position)) {
      const ClassedChar c = at(position);
      if (!c.is(kWordStart)) {
        if (!c.is(kWordRest)) break;
        return run(position + c.length, kWordRest);
      }
      position += c.length;
      if (c.is(kWordRest)) last_both_end = position;
    }
    return last_both_end;
  }

  // [start]+[rest]* : reached only where some_lower failed, so no rest follows the run.
  size_t some_upper(size_t position, size_t failed) {
    const size_t end = run(position, kWordStart);
    return end == position ? failed : run(end, kWordRest);
  }

  size_t number(size_t begin, const ClassedChar& first) {
    if (rules_.max_digits == 0) {
      const size_t start = first.codepoint == ' ' ? begin + 1 : begin;
      const size_t end = run(start, kCharNumber);
      return end == start ? begin : end;
    }
    size_t end = begin;
    for (uint32_t n = 0; n < rules_.max_digits && inside(end); ++n) {
      const ClassedChar c = at(end);
      if (!c.is(kCharNumber)) break;
      end += c.length;
    }
    return end;
  }

  //  ?[^\s\p{L}\p{N}]+[tail]*
  size_t symbols(size_t begin, const ClassedChar& first) {
    const size_t start = first.codepoint == ' ' ? begin + 1 : begin;
    size_t end = start;
    while (inside(end)) {
      const ClassedChar c = at(end);
      if (c.is(kCharSpace | kCharLetter | kCharNumber)) break;
      end += c.length;
    }
    if (end == start) return begin;
    while (inside(end) && rules_.symbol_tail.find(text_[end]) != std::string_view::npos) ++end;
    return end;
  }

  // \s++$ | \s*[\r\n]+ | \s+(?!\S) | \s+
  size_t spaces(size_t begin) {
    size_t end = begin, last_start = begin, after_break = begin;
    while (inside(end)) {
      const ClassedChar c = at(end);
      if (!c.is(kCharSpace)) break;
      last_start = end;
      end += c.length;
      if (c.is(kCharLineBreak)) after_break = end;
    }
    if (end == text_.size() && rules_.whole_final_space) return end;
    if (rules_.stops_at_line_break && after_break != begin) return after_break;
    if (end == text_.size() || last_start == begin) return end;
    return last_start;  // the last space goes with the word after it
  }

  const SplitRules& rules_;
  std::string_view text_;
  const CharClasses& classes_;
  bool has_seen_the_end_ = false;
};

// Whether a letter ends at `position`.
bool is_after_letter(std::string_view text, size_t position) {
  for (size_t length = 1; length <= std::min<size_t>(4, position); ++length) {
    const ClassedChar c = classed_char_at(text.substr(0, position), position - length);
    if (c.length == length && c.is(kCharLetter)) return true;
  }
  return false;
}

// The last place of the text where every rule cuts, whatever comes before or after: between a letter and
// something that is neither letter nor mark nor the beginning of a contraction. 0: none found.
size_t last_sure_cut(std::string_view text) {
  for (size_t position = text.size(); position-- > 1;) {
    const auto byte = static_cast<uint8_t>(text[position]);
    if (byte == '\'' || (byte >= 0x80 && byte < 0xc0)) continue;
    const ClassedChar c = classed_char_at(text, position);
    const bool valid = c.codepoint != 0xfffd;
    if (valid && !c.is(kCharLetter | kCharMark) && is_after_letter(text, position)) return position;
  }
  return 0;
}

using Words = SplitRules::Words;
using Contractions = SplitRules::Contractions;

constexpr SplitRules kNanochat{Words::after_any, Contractions::any_case, 2, "\r\n", true, false};
constexpr SplitRules kGpt2{Words::after_space, Contractions::lower_case, 0, "", false, false};
constexpr SplitRules kCl100k{Words::after_any, Contractions::any_case, 3, "\r\n", true, true};
constexpr SplitRules kLlama3{Words::after_any, Contractions::any_case, 3, "\r\n", true, false};
constexpr SplitRules kQwen2{Words::after_any, Contractions::any_case, 1, "\r\n", true, false};
constexpr SplitRules kO200k{Words::by_case, Contractions::any_case, 3, "\r\n/", true, false};

// cl100k for the Hugging Face library, where {1,3}+ is not possessive but repeats.
constexpr std::string_view kJsonCl100k =
    R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)re";

struct KnownPattern {
  std::string_view text;
  const SplitRules* rules;
};

// The first five are in the order of SplitPattern: split_pattern_text().
constexpr KnownPattern kKnownPatterns[] = {
    {R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)re",
     &kNanochat},
    {R"re('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)re", &kGpt2},
    {R"re('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)re",
     &kCl100k},
    {R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     &kO200k},
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     &kLlama3},
    // Forms found in tokenizer.json files.
    {R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re", &kGpt2},
    {kJsonCl100k, &kCl100k},
    {R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
     &kQwen2},
};

constexpr std::string_view kNames[] = {"nanochat", "gpt2", "cl100k", "o200k", "llama3"};

}  // namespace

const SplitRules& split_rules(SplitPattern pattern) {
  return *kKnownPatterns[static_cast<size_t>(pattern)].rules;
}

std::string_view split_pattern_text(SplitPattern pattern) {
  return kKnownPatterns[static_cast<size_t>(pattern)].text;
}

std::string_view json_pattern_text(SplitPattern pattern) {
  return pattern == SplitPattern::cl100k ? kJsonCl100k : split_pattern_text(pattern);
}

const SplitRules* find_split_rules(std::string_view pattern_text) {
  for (const KnownPattern& known : kKnownPatterns) {
    if (known.text == pattern_text) return known.rules;
  }
  return nullptr;
}

bool split_pattern_from_name(std::string_view name, SplitPattern& pattern) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] != name) continue;
    pattern = static_cast<SplitPattern>(i);
    return true;
  }
  return false;
}

template <const SplitRules& kRules>
size_t scan_pieces(std::string_view text, size_t begin, std::span<size_t> ends) {
  const AsciiScanner<kRules> ascii(text);
  Scanner scanner(kRules, text);
  size_t n = 0;
  for (; n < ends.size() && begin < text.size(); ++n) {
    size_t end = ascii.piece(begin);
    if (end == begin) end = scanner.piece(begin);
    ends[n] = begin = end;
  }
  return n;
}

size_t find_piece_ends(const SplitRules& rules, std::string_view text, size_t begin, std::span<size_t> ends) {
  if (&rules == &kGpt2) return scan_pieces<kGpt2>(text, begin, ends);
  if (&rules == &kCl100k) return scan_pieces<kCl100k>(text, begin, ends);
  if (&rules == &kO200k) return scan_pieces<kO200k>(text, begin, ends);
  if (&rules == &kNanochat) return scan_pieces<kNanochat>(text, begin, ends);
  if (&rules == &kLlama3) return scan_pieces<kLlama3>(text, begin, ends);
  if (&rules == &kQwen2) return scan_pieces<kQwen2>(text, begin, ends);
  Scanner scanner(rules, text);
  size_t n = 0;
  for (; n < ends.size() && begin < text.size(); ++n) ends[n] = begin = scanner.piece(begin);
  return n;
}

size_t piece_end(const SplitRules& rules, std::string_view text, size_t begin) {
  size_t end = begin;
  find_piece_ends(rules, text, begin, {&end, 1});
  return end;
}

size_t final_pieces_end(const SplitRules& rules, std::string_view text) {
  Scanner scanner(rules, text);
  size_t final_end = last_sure_cut(text);
  while (final_end < text.size()) {
    const size_t end = scanner.piece(final_end);
    if (scanner.has_seen_the_end()) break;
    final_end = end;
  }
  return final_end;
}

}  // namespace nanochat
