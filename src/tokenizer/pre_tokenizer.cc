#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <array>

#include "base/checked.h"
#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/character_sets.h"

namespace nanochat {

namespace {

using Step = PreTokenizerStep;

// A character of a piece. After a ByteLevel step each byte is one character of GPT-2's alphabet: byte 0xB2 is
// then the character U+00B2, a number. A byte that is not UTF-8 is U+FFFD.
DecodedCodepoint character_at(std::string_view text, size_t position, bool byte_level = false) {
  if (byte_level) return {byte_to_alphabet(static_cast<uint8_t>(text[position])), 1, true};
  DecodedCodepoint c = decode_utf8(text, position);
  if (!c.valid) c.length = 1;
  return c;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// Length of the match of `step` at `position`; 0: none.
size_t match_length(const Step& step, std::string_view text, size_t position, bool byte_level) {
  switch (step.find) {
    case Step::Find::rules:
      return piece_end(*step.rules, text, position) - position;
    case Step::Find::punctuation: {
      const DecodedCodepoint c = character_at(text, position, byte_level);
      return is_punctuation(c.codepoint) ? c.length : 0;
    }
    case Step::Find::digits: {
      const DecodedCodepoint c = character_at(text, position, byte_level);
      return is_number(c.codepoint) ? c.length : 0;
    }
    case Step::Find::white_space: {
      const DecodedCodepoint c = character_at(text, position);
      return is_white_space(c.codepoint) ? c.length : 0;
    }
    case Step::Find::ascii_triple: {
      const std::string_view three = text.substr(position, 3);
      return three.size() == 3 && std::all_of(three.begin(), three.end(), is_ascii_digit) ? 3 : 0;
    }
    case Step::Find::literal:
      return text.substr(position, step.literal.size()) == step.literal ? step.literal.size() : 0;
    case Step::Find::length: {
      size_t end = position;
      for (size_t n = 0; n < step.length && end < text.size(); ++n) end += character_at(text, end).length;
      return end - position;
    }
    default:
      return 0;
  }
}

// Turns matches and gaps, which come one after another and cover the text, into pieces. What may still grow
// waits.
template <class Emit>
class Behaving {
 public:
  Behaving(const Step& step, const Emit& emit) : step_(step), emit_(emit) {}

  void add(size_t begin, size_t end, bool is_match) {
    using Behavior = Step::Behavior;
    is_match = is_match != step_.inverted;
    switch (step_.behavior) {
      case Behavior::isolated:
        return emit_(begin, end);
      case Behavior::removed:
        if (!is_match) emit_(begin, end);
        return;
      case Behavior::contiguous:
        return join(begin, end, is_match, is_match == waiting_is_match_);
      case Behavior::merged_with_previous:
        return join(begin, end, is_match, is_match && !waiting_is_match_);
      case Behavior::merged_with_next:
        return join(begin, end, is_match, !is_match && waiting_is_match_);
    }
  }
  void finish() {
    if (waits_) emit_(begin_, end_);
  }

 private:
  void join(size_t begin, size_t end, bool is_match, bool to_waiting) {
    if (!waits_ || !to_waiting) {
      finish();
      begin_ = begin;
    }
    end_ = end;
    waiting_is_match_ = is_match;
    waits_ = true;
  }

  const Step& step_;
  const Emit& emit_;
  size_t begin_ = 0, end_ = 0;
  bool waits_ = false, waiting_is_match_ = false;
};

template <class Emit>
void find_pieces(const Step& step, std::string_view text, bool byte_level, const Emit& emit) {
  Behaving<Emit> behaving(step, emit);
  size_t gap = 0, position = 0;
  while (position < text.size()) {
    const size_t length = match_length(step, text, position, byte_level);
    if (length == 0) {
      position += character_at(text, position, byte_level).length;
      continue;
    }
    if (gap < position) behaving.add(gap, position, false);
    behaving.add(position, position + length, true);
    position += length;
    gap = position;
  }
  if (gap < position) behaving.add(gap, position, false);
  behaving.finish();
}

template <class Emit>
void find_matches(const Step& step, RegexSearch& search, std::string_view text, const Emit& emit) {
  Behaving<Emit> behaving(step, emit);
  search.start(text);
  size_t gap = 0, begin = 0, end = 0;
  while (search.next(begin, end)) {
    if (gap < begin) behaving.add(gap, begin, false);
    behaving.add(begin, end, true);
    gap = end;
  }
  if (gap < text.size()) behaving.add(gap, text.size(), false);
  behaving.finish();
}

enum class WordPart : uint8_t { space, word, mark };

WordPart part_of_word(char32_t c) {
  return is_white_space(c) ? WordPart::space : is_word_character(c) ? WordPart::word : WordPart::mark;
}
WordPart part_of_bert_word(char32_t c) {
  return is_white_space(c) ? WordPart::space : is_punctuation(c) ? WordPart::mark : WordPart::word;
}

template <WordPart (*part_of)(char32_t)>
const std::array<WordPart, 128>& ascii_parts() {
  static const std::array<WordPart, 128> table = [] {
    std::array<WordPart, 128> parts;
    for (char32_t c = 0; c < 128; ++c) parts[c] = part_of(c);
    return parts;
  }();
  return table;
}

// Runs of one part, without the spaces; marks are single if they do not join.
template <WordPart (*part_of)(char32_t), bool marks_join, class Emit>
void find_words(std::string_view text, const Emit& emit) {
  const std::array<WordPart, 128>& ascii = ascii_parts<part_of>();
  size_t begin = 0, position = 0;
  WordPart run = WordPart::space;
  while (position < text.size()) {
    const auto byte = static_cast<uint8_t>(text[position]);
    uint32_t length = 1;
    WordPart part;
    if (byte < 128) {
      part = ascii[byte];
    } else {
      const DecodedCodepoint c = character_at(text, position);
      length = c.length;
      part = part_of(c.codepoint);
    }
    if (part != run || (part == WordPart::mark && !marks_join)) {
      if (run != WordPart::space) emit(begin, position);
      begin = position;
      run = part;
    }
    position += length;
  }
  if (run != WordPart::space) emit(begin, position);
}

}  // namespace

// Each piece of a step walks through the steps after it before the next one is looked for, so that nothing is
// collected. A step that rewrites keeps its piece in a text of its own.
class PreTokenizer::Splitting {
 public:
  Splitting(const std::vector<PreTokenizerStep>& steps, Trace trace, Visitor visitor)
      : steps_(steps), trace_(trace), visitor_(visitor), rewritten_(steps.size()) {}

  void run(size_t level, TextPiece piece, bool byte_level) {
    if (piece.empty()) return;
    if (level == steps_.size()) return visitor_.call(visitor_.self, piece);
    const PreTokenizerStep& step = steps_[level];
    if (step.space_before && piece.text.front() != ' ') piece = with_before(piece, " ", rewritten_[level]);
    if (!step.space.empty()) piece = with_metaspace(piece, step, rewritten_[level]);
    const bool next_byte_level = byte_level || step.to_byte_level;
    if (step.find == PreTokenizerStep::Find::nothing) return run(level + 1, piece, next_byte_level);
    const auto emit = [&](size_t begin, size_t end) {
      run(level + 1, piece.part(begin, end), next_byte_level);
    };
    switch (step.find) {
      case PreTokenizerStep::Find::pattern:
        return find_matches(step, search(level), piece.text, emit);
      case PreTokenizerStep::Find::words:
        return find_words<part_of_word, true>(piece.text, emit);
      case PreTokenizerStep::Find::words_and_marks:
        return find_words<part_of_bert_word, false>(piece.text, emit);
      default:
        return find_pieces(step, piece.text, byte_level, emit);
    }
  }

 private:
  RegexSearch& search(size_t level) {
    if (searches_.empty()) searches_.resize(steps_.size());
    if (!searches_[level]) searches_[level] = std::make_unique<RegexSearch>(*steps_[level].pattern);
    return *searches_[level];
  }

  TextPiece with_before(const TextPiece& piece, std::string before, NormalizedText& text) const {
    text.start(piece, trace_);
    const size_t first = character_at(piece.text, 0).length;
    text.replace(first, before += piece.text.substr(0, first));
    text.keep(piece.text.size() - first);
    return text.view();
  }

  TextPiece with_metaspace(const TextPiece& piece, const PreTokenizerStep& step, NormalizedText& text) const {
    using Prepend = PreTokenizerStep::Prepend;
    const std::string_view source = piece.text;
    text.start(piece, trace_);
    const bool wants = step.prepend == Prepend::always || (step.prepend == Prepend::first && piece.base == 0);
    if (wants && source[0] != ' ' && source.substr(0, step.space.size()) != step.space) {
      const size_t first = character_at(source, 0).length;
      text.replace(first, step.space + std::string(source.substr(0, first)));
    }
    while (text.position() < source.size()) {
      const size_t next = std::min(source.find(' ', text.position()), source.size());
      text.keep(next - text.position());
      if (next < source.size()) text.replace(1, step.space);
    }
    return text.view();
  }

  const std::vector<PreTokenizerStep>& steps_;
  const Trace trace_;
  const Visitor visitor_;
  std::vector<NormalizedText> rewritten_;               // one for each step
  std::vector<std::unique_ptr<RegexSearch>> searches_;  // the same, when first needed
};

void PreTokenizer::split_in_steps(const TextPiece& piece, Trace trace, Visitor visitor) const {
  Splitting(steps_, trace, visitor).run(0, piece, false);
}

bool PreTokenizer::is_byte_level() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.to_byte_level; });
}

size_t PreTokenizer::size_bound(size_t text_bytes) const {
  for (const PreTokenizerStep& step : steps_) {
    // What is put in, for each piece and for each space, and no piece is empty.
    const size_t factor = step.space_before ? 2 : step.space.size() + 1;
    uint64_t product = 0;
    text_bytes = checked_multiply(text_bytes, factor, product) ? static_cast<size_t>(product) : SIZE_MAX;
  }
  return text_bytes;
}

}  // namespace nanochat
