// Tokens that stand outside the model: found in the text before anything else sees it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/pipeline_normalizer.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

struct AddedToken {
  std::string text;
  TokenId id = -1;
  bool special = false;      // found only if the caller asks; left out by skip_specials
  bool normalized = false;   // looked for in the normalized text, by its own normalized form
  bool left_strip = false;   // takes the white space before it
  bool right_strip = false;  // takes the white space after it
  bool single_word = false;  // only between characters that are not of a word
  std::string decoded;  // what the decoder is given: the normalized form, as the Hugging Face library has it
};

// Finds the leftmost, among those the longest, of a set of texts.
class TextFinder {
 public:
  void add(std::string_view text, uint32_t value);  // of equal texts, the first counts
  bool empty() const { return nodes_.size() == 1; }
  // The match that begins first at or after `from`. False: none.
  bool find(std::string_view text, size_t from, size_t& begin, size_t& end, uint32_t& value) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t value = kNone;
    std::vector<std::pair<uint8_t, uint32_t>> children;  // sorted by byte
  };
  uint32_t child(uint32_t node, uint8_t byte) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
};

class AddedTokens {
 public:
  struct Segment {
    TokenId id;             // -1: text
    std::string_view text;  // of the text given
  };

  AddedTokens() = default;
  AddedTokens(std::vector<AddedToken> tokens, const PipelineNormalizer& normalizer);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // Cuts out the tokens that are looked for in the raw text, or those in the normalized one. Specials are
  // left in the text unless `in_text` says otherwise; they still hide shorter tokens inside them.
  void split_raw(std::string_view text, SpecialsInText in_text, std::vector<Segment>& segments) const {
    split(raw_, text, in_text, segments);
  }
  void split_normalized(std::string_view text, SpecialsInText in_text, std::vector<Segment>& segments) const {
    split(normalized_, text, in_text, segments);
  }

 private:
  void split(const TextFinder& finder, std::string_view text, SpecialsInText in_text,
             std::vector<Segment>& segments) const;

  std::vector<AddedToken> tokens_;  // by id
  TextFinder raw_, normalized_;     // values are indices of tokens_
};

}  // namespace nanochat
