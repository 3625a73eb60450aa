// BERT's rewriting: control characters out, spaces around ideographs, accents off, lower case. English takes
// one look at each byte.
#pragma once

#include <array>
#include <cstdint>

#include "tokenizer/normalized_text.h"

namespace nanochat {

struct BertNormalizerOptions {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

class BertNormalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options);
  // Reads all of the source. A byte that is not UTF-8 counts as U+FFFD: clean_text takes it out.
  void run(NormalizedText& text) const;

 private:
  void run_ascii(NormalizedText& text, size_t n) const;
  void run_others(NormalizedText& text, size_t n) const;
  void clean(NormalizedText& text) const;
  void strip_and_fold(NormalizedText& text) const;

  BertNormalizerOptions options_;
  std::array<char, 128> ascii_{};  // what each becomes; kRemoved: nothing
};

}  // namespace nanochat
