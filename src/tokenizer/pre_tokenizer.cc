#include "tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/unicode_classes.h"

namespace nanochat {

namespace {

using Step = PreTokenizerStep;

struct Span {
  size_t begin;
  size_t end;
  bool is_match;
};

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

// Matches and the gaps between them, one after another, covering the text.
std::vector<Span> find_spans(const Step& step, std::string_view text, bool byte_level) {
  std::vector<Span> spans;
  size_t gap = 0, position = 0;
  while (position < text.size()) {
    const size_t length = match_length(step, text, position, byte_level);
    if (length == 0) {
      position += character_at(text, position, byte_level).length;
      continue;
    }
    if (gap < position) spans.push_back({gap, position, step.inverted});
    spans.push_back({position, position + length, !step.inverted});
    position += length;
    gap = position;
  }
  if (gap < position) spans.push_back({gap, position, step.inverted});
  return spans;
}

void merge_with_previous(std::vector<Span>& spans) {
  std::vector<Span> merged;
  for (const Span& span : spans) {
    if (span.is_match && !merged.empty() && !merged.back().is_match) {
      merged.back().end = span.end;
      merged.back().is_match = true;
    } else {
      merged.push_back(span);
    }
  }
  spans = std::move(merged);
}

void merge_with_next(std::vector<Span>& spans) {
  std::vector<Span> merged;
  for (size_t i = spans.size(); i-- > 0;) {
    if (spans[i].is_match && !merged.empty() && !merged.back().is_match) {
      merged.back().begin = spans[i].begin;
      merged.back().is_match = true;
    } else {
      merged.push_back(spans[i]);
    }
  }
  std::reverse(merged.begin(), merged.end());
  spans = std::move(merged);
}

void apply_behavior(Step::Behavior behavior, std::vector<Span>& spans) {
  switch (behavior) {
    case Step::Behavior::isolated:
      return;
    case Step::Behavior::removed:
      std::erase_if(spans, [](const Span& span) { return span.is_match; });
      return;
    case Step::Behavior::contiguous: {
      std::vector<Span> merged;
      for (const Span& span : spans) {
        if (!merged.empty() && merged.back().is_match == span.is_match) {
          merged.back().end = span.end;
        } else {
          merged.push_back(span);
        }
      }
      spans = std::move(merged);
      return;
    }
    case Step::Behavior::merged_with_previous:
      return merge_with_previous(spans);
    case Step::Behavior::merged_with_next:
      return merge_with_next(spans);
  }
}

}  // namespace

std::vector<std::string> PreTokenizer::split_in_steps(std::string_view text) const {
  std::vector<std::string> pieces;
  if (!text.empty()) pieces.emplace_back(text);
  bool byte_level = false;
  for (const Step& step : steps_) {
    std::vector<std::string> next;
    for (std::string& piece : pieces) {
      if (step.space_before && piece.front() != ' ') piece.insert(0, 1, ' ');
      std::vector<Span> spans = find_spans(step, piece, byte_level);
      apply_behavior(step.behavior, spans);
      for (const Span& span : spans) next.push_back(piece.substr(span.begin, span.end - span.begin));
    }
    pieces = std::move(next);
    byte_level = byte_level || step.to_byte_level;
  }
  return pieces;
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
