// A vocabulary as a file lists it: checked for contradictions, and searched by text while the file is read.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/json_node.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

class VocabularyIndex {
 public:
  using Token = std::pair<std::string_view, int64_t>;

  // Refuses, in the name of `place`, ids outside of 0..kMaxTokenId and texts and ids that appear twice. The
  // texts stay the caller's.
  VocabularyIndex(const std::vector<Token>& tokens, const JsonNode& place);

  // The id of the text `left` with `right` behind it; -1: none.
  TokenId find(std::string_view left, std::string_view right = {}) const;

 private:
  struct Slot {
    uint32_t tag = 0;    // other bits of the hash than those that choose the slot
    uint32_t index = 0;  // of the token, + 1; 0: empty
  };
  bool is_at(uint32_t index, std::string_view left, std::string_view right) const;

  const std::vector<Token>& tokens_;
  std::vector<Slot> slots_;
};

}  // namespace nanochat
