// Byte-level BPE training: always the most frequent pair, ties to the smallest (left id, right id).
// The rule of github.com/karpathy/rustbpe, as textbook BPE (Sennrich et al. 2016) on bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cancel.h"
#include "base/thread_pool.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

struct BpeTrainOptions {
  int32_t vocab_size = 0;  // with the special tokens; fewer come out if the corpus runs out of pairs
  SplitPattern pattern = SplitPattern::nanochat;
  std::vector<std::string> special_tokens;  // empty: nanochat's nine, in order
};

struct BpeTrainResult {
  std::vector<std::pair<TokenId, TokenId>> merges;  // merge i makes id 256 + i
  std::vector<uint64_t> merge_counts;
  std::vector<std::string> token_bytes;  // of every id below the special tokens
};

// Documents are split separately. Counts are 64-bit.
class BpeTrainer {
 public:
  explicit BpeTrainer(const BpeTrainOptions& options);  // throws invalid_argument naming field and value
  ~BpeTrainer();
  void add_document(std::string_view text);
  // The same counts as one by one, whatever the number of threads.
  void add_documents(std::span<const std::string_view> texts, ThreadPool& threads);
  // Reports stages "count" and "merge". Leaves the counts as they are: more documents may follow.
  BpeTrainResult train(ThreadPool& threads, const Watch& watch) const;
  std::shared_ptr<const Tokenizer> make_tokenizer(const BpeTrainResult& result) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

const std::vector<std::string>& nanochat_special_tokens();  // <|bos|> .. <|output_end|>, in id order

}  // namespace nanochat
