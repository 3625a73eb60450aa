// A tokenizer in the words of GGUF: the tokenizer.ggml.* entries that llama.cpp encodes and decodes with.
#pragma once

#include <cstdint>
#include <vector>

#include "io/gguf_writer.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

struct GgufVocabularyRequest {
  int64_t n_tokens;  // rows of the model's embedding; ids that the tokenizer lacks become unused tokens
  TokenId bos = -1;  // as the model's configuration has them; -1: the tokenizer's own
  TokenId eos = -1;  // -1: found by its usual names, else bos
};

// Two kinds can be said in GGUF: SentencePiece-like BPE with byte fallback (model "llama", scores instead of
// merges) and byte-level BPE with a split rule that llama.cpp has (model "gpt2"). Everything that would make
// llama.cpp encode a text differently is refused by name (format_unsupported); so is a tokenizer with more
// ids than the model (invalid_argument).
std::vector<GgufEntry> gguf_vocabulary(const Tokenizer& tokenizer, const GgufVocabularyRequest& request);

// The entries of a model that comes without a tokenizer.
std::vector<GgufEntry> gguf_no_vocabulary();

}  // namespace nanochat
