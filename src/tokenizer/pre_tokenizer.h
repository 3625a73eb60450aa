// The second step of a pipeline: cutting the text into the pieces that the model sees one by one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/split_scanner.h"

namespace nanochat {

struct PreTokenizerStep {
  enum class Find : uint8_t {
    nothing,       // no cut
    rules,         // the pieces of a split rule
    punctuation,   // one character
    digits,        // one numeric character
    ascii_triple,  // [0-9][0-9][0-9]
    literal,       // a fixed text
  };
  // What becomes of the matches: names of the Hugging Face library.
  enum class Behavior : uint8_t { isolated, removed, contiguous, merged_with_previous, merged_with_next };

  Find find = Find::nothing;
  Behavior behavior = Behavior::isolated;
  bool inverted = false;              // matches and gaps change places
  const SplitRules* rules = nullptr;  // Find::rules
  std::string literal;                // Find::literal, not empty
  bool space_before = false;          // first puts a space before a piece that does not begin with one
  bool to_byte_level = false;         // from here on the characters are bytes in GPT-2's alphabet
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  // Calls visit(piece) for each piece, none of them empty. Pieces are the text's own bytes, never the
  // alphabet.
  template <class Visit>
  void split(std::string_view text, const Visit& visit) const {
    if (is_one_split()) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = piece_end(*steps_[0].rules, text, begin);
        visit(text.substr(begin, end - begin));
        begin = end;
      }
      return;
    }
    for (const std::string& piece : split_in_steps(text)) visit(std::string_view(piece));
  }

  bool is_byte_level() const;
  size_t size_bound(size_t text_bytes) const;  // of all pieces together

 private:
  bool is_one_split() const {  // GPT-2's and nanochat's case: no copies
    return steps_.size() == 1 && steps_[0].find == PreTokenizerStep::Find::rules &&
           steps_[0].behavior == PreTokenizerStep::Behavior::isolated && !steps_[0].space_before;
  }
  std::vector<std::string> split_in_steps(std::string_view text) const;

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace nanochat
