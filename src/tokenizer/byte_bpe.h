// Byte-level BPE whose merges follow from the ranks: tiktoken's form, and nanochat's.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

// `tokens`: raw bytes and rank, the rank being the id; ranks may have gaps. Throws `fault` naming `name` and
// the token for an empty or repeated token, a repeated or impossible rank, a missing single byte.
std::shared_ptr<const Tokenizer> make_ranked_bpe(const TokenList& tokens, SplitPattern pattern,
                                                 const std::vector<SpecialToken>& specials,
                                                 std::string_view name);
std::shared_ptr<const Tokenizer> make_ranked_bpe(const std::vector<Vocabulary::Entry>& tokens,
                                                 SplitPattern pattern,
                                                 const std::vector<SpecialToken>& specials,
                                                 std::string_view name);

}  // namespace nanochat
