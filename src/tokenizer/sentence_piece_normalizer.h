// What SentencePiece does to a text before it cuts it up: characters replaced by the longest key of its
// table, spaces joined and cut off, each written as U+2581.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/charsmap.h"

namespace nanochat {

class SentencePieceNormalizer {
 public:
  struct Options {
    std::shared_ptr<const Charsmap> charsmap;  // nullptr: nothing is replaced
    bool space_before_text = true;
    bool removes_extra_spaces = true;  // at the ends, and all but one of several
  };
  explicit SentencePieceNormalizer(Options options) : options_(std::move(options)) {}

  // A text is one piece of the source: it is empty, or has its space before it.
  void run(NormalizedText& text) const;
  size_t longest_replacement() const;  // bytes that one byte may become

 private:
  template <class Visit>
  void each_chunk(std::string_view source, const Visit& visit) const;
  size_t read_chunk(std::string_view source, std::string_view& replacement) const;

  Options options_;
};

}  // namespace nanochat
