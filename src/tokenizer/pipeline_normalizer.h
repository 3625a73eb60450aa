// The first step of a tokenizer.json pipeline: rewriting the text. A list of steps, empty for byte-level
// files. Bytes that are not UTF-8 stay where they are, but for BertNormalizer's clean_text, which takes them
// out as it takes U+FFFD.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/bert_normalizer.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/normal_forms.h"
#include "tokenizer/normalized_text.h"
#include "tokenizer/regular_expression.h"
#include "tokenizer/sentence_piece_normalizer.h"

namespace nanochat {

struct NormalizerStep {
  enum class Kind : uint8_t {
    prepend,      // `by` before a text that is not empty
    replace,      // `by` for every `what`, which is not empty
    replace_all,  // `by` for every match of `pattern`
    strip,        // white space off the ends
    strip_accents,
    lowercase,
    normal_form,
    nmt,         // control characters out, unusual spaces to plain ones
    byte_level,  // bytes to GPT-2's alphabet
    bert,
    precompiled,
    sentence_piece,
  };
  Kind kind;
  std::string what = {};
  std::string by = {};
  bool strips_left = false, strips_right = false;
  NormalForm form = NormalForm::nfc;
  std::shared_ptr<const RegularExpression> pattern = nullptr;
  std::shared_ptr<const BertNormalizer> bert = nullptr;
  std::shared_ptr<const Charsmap> charsmap = nullptr;
  std::shared_ptr<const SentencePieceNormalizer> sentence_piece = nullptr;
};

class PipelineNormalizer {
 public:
  PipelineNormalizer() = default;
  explicit PipelineNormalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}
  bool empty() const { return steps_.empty(); }
  std::string apply(std::string_view text) const;
  // `result` keeps what the returned piece shows.
  TextPiece apply(const TextPiece& piece, Trace trace, NormalizedText& result) const;
  // Of n_segments texts together that have text_bytes between them.
  size_t size_bound(size_t text_bytes, size_t n_segments) const;

 private:
  std::vector<NormalizerStep> steps_;
};

// Every occurrence, from the left, not overlapping. `what` is not empty.
std::string replace_all(std::string_view text, std::string_view what, std::string_view by);

}  // namespace nanochat
