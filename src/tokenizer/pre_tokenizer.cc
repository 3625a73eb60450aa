#include "tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/unicode_classes.h"

namespace nanochat {

namespace {

using Step = PreTokenizerStep;

// A character of a piece. After a ByteLevel step each byte is one character of GPT-2's alphabet: byte 0xB2 is
// then the character U+00B2, a number.
ClassedChar character_at(std::string_view text, size_t position, bool byte_level) {
  if (!byte_level) return classed_char_at(text, position);
  const char32_t codepoint = byte_to_alphabet(static_cast<uint8_t>(text[position]));
  return {codepoint, 1, char_class(codepoint)};
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// Length of the match of `step` at `position`; 0: none.
size_t match_length(const Step& step, std::string_view text, size_t position, bool byte_level) {
  switch (step.find) {
    case Step::Find::nothing:
      return 0;
    case Step::Find::rules:
      return piece_end(*step.rules, text, position) - position;
    case Step::Find::punctuation:
    case Step::Find::digits: {
      const ClassedChar c = character_at(text, position, byte_level);
      return c.is(step.find == Step::Find::digits ? kCharNumber : kCharPunctuation) ? c.length : 0;
    }
    case Step::Find::ascii_triple: {
      const std::string_view three = text.substr(position, 3);
      return three.size() == 3 && std::all_of(three.begin(), three.end(), is_ascii_digit) ? 3 : 0;
    }
    case Step::Find::literal:
      return text.substr(position, step.literal.size()) == step.literal ? step.literal.size() : 0;
  }
  return 0;
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
    if (step.space_before && piece.text.front() != ' ') piece = with_space(piece, rewritten_[level]);
    const bool next_byte_level = byte_level || step.to_byte_level;
    if (step.find == PreTokenizerStep::Find::nothing) return run(level + 1, piece, next_byte_level);
    find_pieces(step, piece.text, byte_level,
                [&](size_t begin, size_t end) { run(level + 1, piece.part(begin, end), next_byte_level); });
  }

 private:
  TextPiece with_space(const TextPiece& piece, NormalizedText& text) const {
    text.start(piece, trace_);
    const size_t first = classed_char_at(piece.text, 0).length;
    text.replace(first, " " + std::string(piece.text.substr(0, first)));
    text.keep(piece.text.size() - first);
    return text.view();
  }

  const std::vector<PreTokenizerStep>& steps_;
  const Trace trace_;
  const Visitor visitor_;
  std::vector<NormalizedText> rewritten_;  // one for each step
};

void PreTokenizer::split_in_steps(const TextPiece& piece, Trace trace, Visitor visitor) const {
  Splitting(steps_, trace, visitor).run(0, piece, false);
}

bool PreTokenizer::is_byte_level() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.to_byte_level; });
}

size_t PreTokenizer::size_bound(size_t text_bytes) const {
  for (const PreTokenizerStep& step : steps_) {
    if (step.space_before) text_bytes *= 2;  // a space for each piece, and no piece is empty
  }
  return text_bytes;
}

}  // namespace nanochat
