// Tokens that stand outside the model: found in the text before anything else sees it.
#pragma once

#include <array>
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
  void add(std::string_view text, uint32_t value);  // of equal texts, the first counts; not empty
  bool empty() const { return nodes_.size() == 1; }
  // The match that begins first at or after `from`. False: none. Texts whose value is marked in `left_out`
  // are as if they had not been added; nullptr: all count.
  bool find(std::string_view text, size_t from, const std::vector<bool>* left_out, size_t& begin, size_t& end,
            uint32_t& value) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t value = kNone;
    std::vector<std::pair<uint8_t, uint32_t>> children;  // sorted by byte
  };
  uint32_t child(uint32_t node, uint8_t byte) const;
  // The first place from `position` on where the two bytes begin some text; text.size() if there is none.
  size_t next_candidate(std::string_view text, size_t position) const;

  // Whether some text begins so: [byte], and [byte][the one after it] if no text is that byte alone.
  std::array<bool, 256> first_bytes_{}, single_bytes_{};
  int only_first_byte_ = -1;  // of all texts; -1: there are several, or no text
  std::vector<bool> first_pairs_ = std::vector<bool>(256 * 256);
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
  // left in the text unless the options say otherwise. With SpecialsInText::none they still hide shorter
  // tokens inside them, as in the Hugging Face library; with a list, those that are not in it are nothing but
  // text, as in tiktoken.
  void split_raw(std::string_view text, const EncodeOptions& options, std::vector<Segment>& segments) const {
    split(raw_, text, options, segments);
  }
  void split_normalized(std::string_view text, const EncodeOptions& options,
                        std::vector<Segment>& segments) const {
    split(normalized_, text, options, segments);
  }

 private:
  struct Search {
    TextFinder finder;          // values are indices of tokens_
    bool only_specials = true;  // so that there is nothing to find where they do not count
  };
  void split(const Search& search, std::string_view text, const EncodeOptions& options,
             std::vector<Segment>& segments) const;

  std::vector<AddedToken> tokens_;  // by id
  Search raw_, normalized_;
};

}  // namespace nanochat
