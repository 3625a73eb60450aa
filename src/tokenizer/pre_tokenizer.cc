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

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The characters that a set has, those of one byte in a table.
template <bool (*has)(char32_t), bool byte_level>
class FastSet {
 public:
  FastSet() {
    for (size_t byte = 0; byte < 256; ++byte) {
      const char letter = static_cast<char>(static_cast<uint8_t>(byte));
      of_byte_[byte] = (byte_level || byte < 128) &&
                       has(character_at(std::string_view(&letter, 1), 0, byte_level).codepoint);
    }
  }
  // Whether it has the character at `position`, which is `length` bytes long.
  bool find(std::string_view text, size_t position, size_t& length) const {
    const auto byte = static_cast<uint8_t>(text[position]);
    length = 1;
    if (byte_level || byte < 128) return of_byte_[byte];
    const DecodedCodepoint c = character_at(text, position);
    length = c.length;
    return has(c.codepoint);
  }

 private:
  std::array<bool, 256> of_byte_;
};

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

// What finds matches tells here where they are, in order; the rest are gaps.
template <class Emit>
class Cutting {
 public:
  Cutting(const Step& step, size_t size, const Emit& emit) : behaving_(step, emit), size_(size) {}
  void match(size_t begin, size_t end) {
    if (gap_ < begin) behaving_.add(gap_, begin, false);
    behaving_.add(begin, end, true);
    gap_ = end;
  }
  void finish() {
    if (gap_ < size_) behaving_.add(gap_, size_, false);
    behaving_.finish();
  }

 private:
  Behaving<Emit> behaving_;
  size_t size_, gap_ = 0;
};

// Each character of a set is a match.
template <bool (*has)(char32_t), bool byte_level, class Emit>
void find_characters(std::string_view text, Cutting<Emit>& cutting) {
  static const FastSet<has, byte_level> kSet;
  size_t length = 0;
  for (size_t position = 0; position < text.size(); position += length) {
    if (kSet.find(text, position, length)) cutting.match(position, position + length);
  }
}

template <class Emit>
void find_triples(std::string_view text, Cutting<Emit>& cutting) {
  for (size_t position = 0; position + 3 <= text.size();) {
    if (is_digit(text[position]) && is_digit(text[position + 1]) && is_digit(text[position + 2])) {
      cutting.match(position, position + 3);
      position += 3;
    } else {
      ++position;
    }
  }
}

template <class Emit>
void find_lengths(size_t length, std::string_view text, Cutting<Emit>& cutting) {
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    for (size_t n = 0; n < length && end < text.size(); ++n) end += character_at(text, end).length;
    cutting.match(begin, end);
  }
}

template <class Emit>
void find_pieces(const Step& step, std::string_view text, bool byte_level, const Emit& emit) {
  Cutting<Emit> cutting(step, text.size(), emit);
  switch (step.find) {
    case Step::Find::rules:
      for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
        end = piece_end(*step.rules, text, begin);
        cutting.match(begin, end);
      }
      break;
    case Step::Find::punctuation:
      byte_level ? find_characters<is_punctuation, true>(text, cutting)
                 : find_characters<is_punctuation, false>(text, cutting);
      break;
    case Step::Find::digits:
      byte_level ? find_characters<is_number, true>(text, cutting)
                 : find_characters<is_number, false>(text, cutting);
      break;
    case Step::Find::white_space:
      find_characters<is_white_space, false>(text, cutting);
      break;
    case Step::Find::ascii_triple:
      find_triples(text, cutting);
      break;
    case Step::Find::literal:
      for (size_t found = text.find(step.literal); found != std::string_view::npos;) {
        cutting.match(found, found + step.literal.size());
        found = text.find(step.literal, found + step.literal.size());
      }
      break;
    case Step::Find::length:
      find_lengths(step.length, text, cutting);
      break;
    default:
      break;
  }
  cutting.finish();
}

template <class Emit>
void find_matches(const Step& step, RegexSearch& search, std::string_view text, const Emit& emit) {
  Cutting<Emit> cutting(step, text.size(), emit);
  search.start(text);
  size_t begin = 0, end = 0;
  while (search.next(begin, end)) cutting.match(begin, end);
  cutting.finish();
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
