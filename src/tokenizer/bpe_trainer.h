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
  uint64_t memory_limit = 0;                // bytes, at least 1 MiB; 0: none
  std::string spill_folder;                 // empty: temporary_folder(); used only with a limit
};

struct BpeTrainResult {
  std::vector<std::pair<TokenId, TokenId>> merges;  // merge i makes id 256 + i
  std::vector<uint64_t> merge_counts;
  std::vector<std::string> token_bytes;  // of every id below the special tokens
};

class PieceCounter;

// Documents are split separately. Counts are 64-bit.
//
// memory_limit covers the tables of counted pieces, what writing and reading them takes, and the merging. The
// pieces that do not fit are kept in temporary files; the merges are the same. Merging needs at least 5 bytes
// for each byte of the different pieces, 12 for each of them and 60 for each token to be; if that is above the
// limit, train() throws working_memory_exhausted naming both figures.
class BpeTrainer {
 public:
  explicit BpeTrainer(const BpeTrainOptions& options);  // throws invalid_argument naming field and value
  ~BpeTrainer();
  void add_document(std::string_view text);
  // The same counts as one by one, whatever the number of threads.
  void add_documents(std::span<const std::string_view> texts, ThreadPool& threads, const Watch& watch = {});
  // n occurrences of one piece, which is taken as it is.
  void add_piece(std::string_view piece, uint64_t n);
  PieceCounter& counter();
  const BpeTrainOptions& options() const;
  // Reports stages "count" and "merge". Leaves the counts as they are: more documents may follow.
  BpeTrainResult train(ThreadPool& threads, const Watch& watch) const;
  std::shared_ptr<const Tokenizer> make_tokenizer(const BpeTrainResult& result) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

const std::vector<std::string>& nanochat_special_tokens();  // <|bos|> .. <|output_end|>, in id order

}  // namespace nanochat
