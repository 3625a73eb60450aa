// From texts to the token lists that are embedded.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/thread_pool.h"
#include "infer/embed_encoder.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

struct TextTokens {
  std::string_view prefix;  // put before each text
  bool truncate = false;    // texts lose their end, their closing tokens stay; else they keep all
  int64_t max_tokens = 0;   // to so many, with what the tokenizer puts around a text
};

// With the tokens that the tokenizer's file puts around a text.
std::vector<std::vector<int32_t>> tokens_of_texts(const Tokenizer& tokenizer,
                                                  std::span<const std::string_view> texts,
                                                  const TextTokens& options, ThreadPool& threads,
                                                  const CancelToken* cancel);

// most_tokens() of a text as its tokenizer gives it: a role's marker comes later.
int64_t most_text_tokens(const Encoder& encoder, const EncoderEmbedOptions& options);

// ColBERT's numbers, with the tokenizer's [MASK], and its tokens of the 32 ASCII characters of punctuation as
// those that give a document no row. Without a tokenizer BERT's [MASK], and none of these.
LateInteraction late_interaction(const Tokenizer* tokenizer);

}  // namespace nanochat
