#include "encoder/encoder_late_interaction.h"

#include <algorithm>

#include "base/error.h"

namespace nanochat {

namespace {

// [CLS] marker text... [SEP], of max_tokens tokens at most.
std::vector<int32_t> mark(std::span<const int32_t> tokens, int32_t marker, int64_t max_tokens) {
  if (tokens.size() < 2) {
    throw Error(Status::invalid_argument)
        .subject("tokens")
        .say("a text has {} tokens, expected 2 at least: what begins and what ends it", tokens.size());
  }
  if (max_tokens < 3) {
    throw Error(Status::invalid_argument)
        .subject("query_length")
        .say("texts of {} tokens are asked for, expected 3 at least", max_tokens);
  }
  std::vector<int32_t> marked{tokens.front(), marker};
  const size_t n_text = std::min(tokens.size() - 2, static_cast<size_t>(max_tokens - 3));
  marked.insert(marked.end(), tokens.begin() + 1, tokens.begin() + 1 + static_cast<std::ptrdiff_t>(n_text));
  marked.push_back(tokens.back());
  return marked;
}

}  // namespace

LateText late_query(std::span<const int32_t> tokens, const LateInteraction& options) {
  LateText text{mark(tokens, options.query_marker, options.query_length), 0};
  if (!options.masks_are_seen) text.n_attended = std::ssize(text.tokens);
  text.tokens.resize(static_cast<size_t>(options.query_length), options.mask_token);
  return text;
}

LateText late_document(std::span<const int32_t> tokens, int64_t max_tokens, const LateInteraction& options) {
  return {mark(tokens, options.document_marker, max_tokens), 0};
}

std::vector<int64_t> kept_tokens(std::span<const int32_t> document, const LateInteraction& options) {
  std::vector<int64_t> kept;
  for (size_t i = 0; i < document.size(); ++i) {
    const bool is_skipped =
        std::binary_search(options.skipped_tokens.begin(), options.skipped_tokens.end(), document[i]);
    if (!is_skipped) kept.push_back(static_cast<int64_t>(i));
  }
  return kept;
}

}  // namespace nanochat
