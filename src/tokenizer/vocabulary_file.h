// A tokenizer's vocabulary in the forms of others.
#pragma once

#include <string>

#include "tokenizer/tokenizer.h"

namespace nanochat {

// tiktoken's rank file: "<base64 of the bytes> <rank>" for each token that is not special, by rank. Throws
// unsupported naming what stands against it unless tiktoken, given these ranks and the split rule, encodes
// as this tokenizer does.
std::string tiktoken_ranks(const Tokenizer& tokenizer);

// The number of bytes of every id, 0 for special tokens and ids without a token: what bits per byte are
// computed with. A safetensors file with one tensor, "token_bytes", int32 [vocab_size].
void write_token_bytes(const Tokenizer& tokenizer, const std::string& path);

}  // namespace nanochat
