// The second step of a pipeline: cutting the text into the pieces that the model sees one by one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/normalized_text.h"
#include "tokenizer/regular_expression.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {

struct PreTokenizerStep {
  enum class Find : uint8_t {
    nothing,       // no cut
    rules,         // the pieces of a split rule
    pattern,       // the matches of a regular expression
    punctuation,   // one character
    digits,        // one numeric character
    ascii_triple,  // [0-9][0-9][0-9]
    literal,       // a fixed text
    white_space,   // one character
    length,        // a number of characters
    // These two keep no white space, whatever the behavior.
    words,            // \w+ and [^\w\s]+
    words_and_marks,  // between white space, each punctuation character alone: BERT
  };
  // What becomes of the matches: names of the Hugging Face library.
  enum class Behavior : uint8_t { isolated, removed, contiguous, merged_with_previous, merged_with_next };

  Find find = Find::nothing;
  Behavior behavior = Behavior::isolated;
  bool inverted = false;              // matches and gaps change places
  const SplitRules* rules = nullptr;  // Find::rules
  std::shared_ptr<const RegularExpression> pattern = nullptr;
  std::string literal = {};    // Find::literal, not empty
  size_t length = 0;           // Find::length
  bool space_before = false;   // first puts a space before a piece that does not begin with one
  bool to_byte_level = false;  // from here on the characters are bytes in GPT-2's alphabet
  // Metaspace, before the cut: each space becomes `space`, and one is put before a text that has none.
  enum class Prepend : uint8_t { never, first, always };
  std::string space = {};  // empty: no Metaspace
  Prepend prepend = Prepend::never;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  // Calls visit(const TextPiece&) for each piece, none of them empty. Pieces are the text's own bytes, never
  // the alphabet. A piece is gone when visit returns.
  template <class Visit>
  void split(const TextPiece& piece, Trace trace, const Visit& visit) const {
    if (const SplitRules* rules = only_rules()) {
      for (size_t begin = 0; begin < piece.text.size();) {
        const size_t end = piece_end(*rules, piece.text, begin);
        visit(piece.part(begin, end));
        begin = end;
      }
      return;
    }
    split_in_steps(piece, trace, {&visit, [](const void* self, const TextPiece& found) {
                                    (*static_cast<const Visit*>(self))(found);
                                  }});
  }

  // The split rule, if one is all there is: GPT-2's and nanochat's case.
  const SplitRules* only_rules() const {
    const bool is_one = steps_.size() == 1 && steps_[0].find == PreTokenizerStep::Find::rules &&
                        steps_[0].behavior == PreTokenizerStep::Behavior::isolated &&
                        !steps_[0].space_before && steps_[0].space.empty();
    return is_one ? steps_[0].rules : nullptr;
  }
  bool is_byte_level() const;
  size_t size_bound(size_t text_bytes) const;  // of all pieces together

 private:
  struct Visitor {
    const void* self;
    void (*call)(const void* self, const TextPiece& piece);
  };
  class Splitting;
  void split_in_steps(const TextPiece& piece, Trace trace, Visitor visitor) const;

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace nanochat
