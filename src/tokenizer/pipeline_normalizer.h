// The first step of a tokenizer.json pipeline: rewriting the text. A list of steps, empty for byte-level
// files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/normalized_text.h"

namespace nanochat {

struct NormalizerStep {
  enum class Kind : uint8_t { prepend, replace };
  Kind kind;
  std::string what;  // replace: the text looked for, not empty
  std::string by;    // replace: the text instead; prepend: the text put before a text that is not empty
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
