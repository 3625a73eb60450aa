// SentencePiece's compiled table of replacements ("precompiled_charsmap"): a double-array trie over UTF-8
// whose values are places in a block of texts, each ended by a zero byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalized_text.h"

namespace nanochat {

class Charsmap {
 public:
  // Throws format_invalid naming `name` and what is wrong: every step of every look-up stays inside.
  Charsmap(std::string_view blob, std::string_view name);

  // Reads all of the source, one grapheme cluster after another, as the Hugging Face library does: of a short
  // cluster the shortest key that begins it replaces all of it. Bytes that are not UTF-8 stay.
  void run(NormalizedText& text) const;
  // The longest key that `text` begins with, as SentencePiece itself reads its table: its bytes, 0 if there
  // is none.
  size_t find_longest(std::string_view text, std::string_view& replacement) const;
  size_t longest_replacement() const { return longest_; }
  size_t text_bytes() const { return texts_.size(); }

 private:
  bool find(std::string_view text, std::string_view& replacement) const;
  bool replacement_at(uint32_t leaf, std::string_view& replacement) const;
  void replace(NormalizedText& text, size_t n, std::string_view replacement) const;

  std::vector<uint32_t> units_;
  std::string texts_;
  size_t longest_ = 0;
  std::array<bool, 256> stays_{};  // printable ASCII without a replacement
};

std::string decode_base64(std::string_view text, std::string_view name);  // throws format_invalid

}  // namespace nanochat
