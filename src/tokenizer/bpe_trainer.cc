#include "tokenizer/bpe_trainer.h"

#include <mutex>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "tokenizer/bpe_merge_state.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {
namespace {

constexpr int32_t kByteTokens = 256;

struct PieceHash {
  using is_transparent = void;
  size_t operator()(std::string_view piece) const { return std::hash<std::string_view>{}(piece); }
};
using PieceCounts = std::unordered_map<std::string, uint64_t, PieceHash, std::equal_to<>>;

void count_piece(PieceCounts& counts, std::string_view piece, uint64_t n) {
  const auto found = counts.find(piece);
  if (found != counts.end()) {
    found->second += n;
  } else {
    counts.emplace(piece, n);
  }
}

void count_pieces(PieceCounts& counts, SplitPattern pattern, std::string_view text) {
  const SplitRules& rules = split_rules(pattern);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = piece_end(rules, text, begin);
    count_piece(counts, text.substr(begin, end - begin), 1);
    begin = end;
  }
}

// What waits for its turn: the most frequent pair first, the smallest pair among equals.
struct Waiting {
  uint64_t count;
  uint64_t pair;
  bool operator<(const Waiting& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

}  // namespace

struct BpeTrainer::State {
  BpeTrainOptions options;
  PieceCounts counts;

  int32_t max_merges() const {
    return options.vocab_size - kByteTokens - static_cast<int32_t>(options.special_tokens.size());
  }
};

const std::vector<std::string>& nanochat_special_tokens() {
  static const std::vector<std::string> tokens = {
      "<|bos|>",          "<|user_start|>", "<|user_end|>",     "<|assistant_start|>", "<|assistant_end|>",
      "<|python_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>"};
  return tokens;
}

BpeTrainer::BpeTrainer(const BpeTrainOptions& options) : state_(std::make_unique<State>()) {
  state_->options = options;
  std::vector<std::string>& specials = state_->options.special_tokens;
  if (specials.empty()) specials = nanochat_special_tokens();
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < specials.size(); ++i) {
    if (!specials[i].empty() && seen.insert(specials[i]).second) continue;
    throw Error(Status::invalid_argument)
        .subject("special_tokens")
        .say("special_tokens[{}] is '{}', expected a text that is not empty and occurs once", i, specials[i]);
  }
  const auto smallest = static_cast<int64_t>(kByteTokens + specials.size());
  if (options.vocab_size < smallest) {
    throw Error(Status::invalid_argument)
        .subject("vocab_size")
        .say("vocab_size is {}, expected at least {} (256 bytes and {} special tokens)", options.vocab_size,
             smallest, specials.size());
  }
  split_rules(options.pattern);
}

BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add_document(std::string_view text) {
  count_pieces(state_->counts, state_->options.pattern, text);
}

void BpeTrainer::add_documents(std::span<const std::string_view> texts, ThreadPool& threads) {
  std::mutex counts_mutex;  // guards state_->counts
  threads.parallel_for(static_cast<int64_t>(texts.size()), 64, [&](int64_t begin, int64_t end) {
    PieceCounts local;
    for (int64_t i = begin; i < end; ++i) {
      count_pieces(local, state_->options.pattern, texts[static_cast<size_t>(i)]);
    }
    const std::lock_guard lock(counts_mutex);
    for (const auto& [piece, n] : local) count_piece(state_->counts, piece, n);
  });
}

BpeTrainResult BpeTrainer::train(ThreadPool& threads, const Watch& watch) const {
  BpeMergeState merging;
  uint64_t n_added = 0;
  for (const auto& [piece, n] : state_->counts) {
    if (n_added++ % 65536 == 0) watch.report("count", n_added - 1, state_->counts.size());
    merging.add_piece(piece, n);
  }
  merging.count_pairs(threads);
  watch.report("count", n_added, n_added);
  std::priority_queue<Waiting> queue;
  merging.take_new_pairs([&](uint64_t pair, uint64_t count) { queue.push({count, pair}); });

  BpeTrainResult result;
  for (int byte = 0; byte < kByteTokens; ++byte) result.token_bytes.emplace_back(1, static_cast<char>(byte));
  const auto max_merges = static_cast<size_t>(state_->max_merges());
  while (result.merges.size() < max_merges && !queue.empty()) {
    const Waiting best = queue.top();
    queue.pop();
    const uint64_t count = merging.count_of(best.pair);
    if (count == 0) continue;
    if (count != best.count) {  // counts of waiting pairs only fall, so this one waits again
      queue.push({count, best.pair});
      continue;
    }
    if (result.merges.size() % 64 == 0) watch.report("merge", result.merges.size(), max_merges);
    const auto [left, right] = BpeMergeState::tokens_of(best.pair);
    const auto made = static_cast<TokenId>(result.token_bytes.size());
    result.merges.emplace_back(left, right);
    result.merge_counts.push_back(count);
    result.token_bytes.push_back(result.token_bytes[static_cast<size_t>(left)] +
                                 result.token_bytes[static_cast<size_t>(right)]);
    merging.merge(best.pair, made);
    merging.take_new_pairs([&](uint64_t pair, uint64_t n) { queue.push({n, pair}); });
  }
  watch.report("merge", result.merges.size(), result.merges.size());
  return result;
}

std::shared_ptr<const Tokenizer> BpeTrainer::make_tokenizer(const BpeTrainResult& result) const {
  std::vector<SpecialToken> specials;
  auto next = static_cast<TokenId>(result.token_bytes.size());
  for (const std::string& text : state_->options.special_tokens) specials.push_back({text, next++});
  return make_byte_bpe(result.token_bytes, state_->options.pattern, std::move(specials));
}

}  // namespace nanochat
