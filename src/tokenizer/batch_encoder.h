// Many texts at once: on threads, cut and filled up to the lengths that a model wants.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/thread_pool.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

struct BatchOptions {
  enum class Truncation : uint8_t { refuse, keep_start, keep_end, as_file };
  enum class Padding : uint8_t { none, longest, to_max_tokens, as_file };

  EncodeOptions encode;
  size_t max_tokens = 0;  // of one text, with what is put around it; 0: any number, or the file's
  Truncation truncation = Truncation::refuse;
  Padding padding = Padding::none;
  bool wants_spans = false;
};

struct EncodedText {
  std::vector<TokenId> ids;       // with the padding
  std::vector<TokenSpan> spans;   // of each id, if they are wanted; {0, 0} for padding
  std::vector<uint8_t> is_token;  // of each id: 1, or 0 for padding
};

// The same for any number of threads. What is cut off is text: what is put around a text stays. Throws
// out_of_range naming the text and both numbers for one that is too long with Truncation::refuse;
// invalid_argument for lengths that make no sense, and for padding with a tokenizer that has no token for it.
std::vector<EncodedText> encode_batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                                      const BatchOptions& options, ThreadPool& threads, const Watch& watch);

}  // namespace nanochat
