// The split rules of byte-level BPE as hand-written scanners: one pass, no backtracking engine.
//
// Every rule covers every text: the pieces, one after another, are the text. Bytes that are not UTF-8 count,
// each, as a character that is neither letter nor number nor space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace nanochat {

// What the known patterns have in common and where they differ.
struct SplitRules {
  enum class Words : uint8_t {
    after_space,  // ` ?\p{L}+`
    after_any,    // `[^\r\n\p{L}\p{N}]?\p{L}+`
    by_case,      // o200k: upper then lower, marks inside words, contraction at the end
  };
  enum class Contractions : uint8_t { none, lower_case, any_case };

  Words words = Words::after_any;
  Contractions contractions = Contractions::any_case;
  uint32_t max_digits = 3;          // 0: ` ?\p{N}+`
  std::string_view symbol_tail;     // characters that may follow a run of symbols
  bool stops_at_line_break = true;  // `\s*[\r\n]+` before the other spaces
  bool whole_final_space = false;   // `\s++$` before that
};

const SplitRules& split_rules(SplitPattern pattern);

// The rules of a pattern text, compared byte for byte with those known (tiktoken's and nanochat's own, and
// the forms found in tokenizer.json files); nullptr if it is none of them.
const SplitRules* find_split_rules(std::string_view pattern_text);

// A text for tokenizer.json which means the same in the regular expressions of the Hugging Face library:
// there {1,3}+ is not possessive but repeats.
std::string_view json_pattern_text(SplitPattern pattern);

// The ends of the pieces from `begin` on, as many as there is room for; how many were found, 0 only at the
// end of the text. The fast way through a long text.
size_t find_piece_ends(const SplitRules& rules, std::string_view text, size_t begin, std::span<size_t> ends);

// Where the piece that starts at `begin` < text.size() ends.
size_t piece_end(const SplitRules& rules, std::string_view text, size_t begin);
inline size_t piece_end(SplitPattern pattern, std::string_view text, size_t begin) {
  return piece_end(split_rules(pattern), text, begin);
}

// A place that the pieces of text[0, p) end at, and which they keep whatever bytes come after the text: all
// that the scanner found without having looked past the end. 0: none is sure yet. Takes the time of the text
// behind its last sure cut, which is short but in texts without words.
size_t final_pieces_end(const SplitRules& rules, std::string_view text);

}  // namespace nanochat
