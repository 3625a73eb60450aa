#include "tokenizer/bpe_trainer.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/temporary_file.h"
#include "base/utf8.h"
#include "tokenizer/bpe_merge_state.h"
#include "tokenizer/piece_counter.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {
namespace {

constexpr int32_t kByteTokens = 256;
constexpr uint64_t kPiecesPerReport = 16384;
constexpr size_t kMergesPerReport = 16;
constexpr uint64_t kLeastMemory = uint64_t{1} << 20;

// Half of the limit for the tables: documents are in memory too, and some of it is lost between blocks.
PieceCounterOptions counter_options(const BpeTrainOptions& options) {
  PieceCounterOptions counter;
  counter.pattern = options.pattern;
  if (options.memory_limit != 0) {
    counter.max_bytes = options.memory_limit / 2;
    counter.spill_folder = options.spill_folder.empty() ? temporary_folder() : options.spill_folder;
  }
  return counter;
}

}  // namespace

struct BpeTrainer::State {
  BpeTrainOptions options;
  PieceCounter counter;

  explicit State(const BpeTrainOptions& given) : options(given), counter(counter_options(given)) {}
  BpeMergeState take_pieces(const Watch& watch);
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

BpeTrainer::BpeTrainer(const BpeTrainOptions& options) : state_(std::make_unique<State>(options)) {
  std::vector<std::string>& specials = state_->options.special_tokens;
  if (specials.empty()) specials = nanochat_special_tokens();
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < specials.size(); ++i) {
    const bool is_text = !specials[i].empty() && is_valid_utf8(specials[i]);
    if (is_text && seen.insert(specials[i]).second) continue;
    throw Error(Status::invalid_argument)
        .subject("special_tokens")
        .say("special_tokens[{}] is '{}', expected a text that is not empty and occurs once", i,
             excerpt(specials[i]));
  }
  const auto smallest = static_cast<int64_t>(kByteTokens + specials.size());
  if (options.vocab_size < smallest) {
    throw Error(Status::invalid_argument)
        .subject("vocab_size")
        .say("vocab_size is {}, expected at least {} (256 bytes and {} special tokens)", options.vocab_size,
             smallest, specials.size());
  }
  if (options.memory_limit == 0) return;
  if (options.memory_limit < kLeastMemory) {
    throw Error(Status::invalid_argument)
        .subject("memory_limit")
        .say("memory_limit is {}, expected at least {}", options.memory_limit, kLeastMemory);
  }
  // A folder that cannot be written to is found out now, not after hours.
  TemporaryFile(counter_options(options).spill_folder);
}

BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add_document(std::string_view text) {
  PieceCounter::Worker(state_->counter, {}).add_text(text);
}

void BpeTrainer::add_documents(std::span<const std::string_view> texts, ThreadPool& threads,
                               const Watch& watch) {
  state_->counter.add_texts(texts, threads, watch);
}

void BpeTrainer::add_piece(std::string_view piece, uint64_t n) {
  PieceCounter::Worker(state_->counter, {}).add_piece(piece, n);
}

PieceCounter& BpeTrainer::counter() { return state_->counter; }

const BpeTrainOptions& BpeTrainer::options() const { return state_->options; }

// The pieces twice: first how many there are, so that nothing is made that would not fit.
BpeMergeState BpeTrainer::State::take_pieces(const Watch& watch) {
  const auto visit = [&](uint64_t total, FunctionRef<void(std::string_view, uint64_t)> take) {
    uint64_t n_visited = 0;
    counter.visit_pieces(watch, [&](std::string_view piece, uint64_t n) {
      if (++n_visited % kPiecesPerReport == 0) watch.report("count", n_visited, std::max(total, n_visited));
      take(piece, n);
    });
    return n_visited;
  };
  BpeMergeState::Size size;
  const uint64_t n_pieces = visit(0, [&](std::string_view piece, uint64_t) {
    if (piece.size() < 2) return;
    ++size.n_pieces;
    size.n_bytes += piece.size();
  });
  // Each merge makes some piece a token shorter.
  const uint64_t most_merges = std::min<uint64_t>(max_merges(), size.n_bytes - size.n_pieces);
  const uint64_t max_tokens = kByteTokens + most_merges;
  uint64_t max_bytes = BpeMergeState::kNoLimit;
  if (options.memory_limit != 0) {
    // The tables stay in memory where at least as much again is left for pairs and places as the pieces take.
    const uint64_t pieces = BpeMergeState::piece_bytes(size, max_tokens);
    if (counter.bytes() + 2 * pieces > options.memory_limit) counter.spill_all(watch);
    const uint64_t taken = std::max(counter.bytes(), counter.reading_bytes());
    max_bytes = options.memory_limit - std::min(taken, options.memory_limit);
  }
  BpeMergeState merging(size, max_tokens, max_bytes);
  visit(n_pieces, [&](std::string_view piece, uint64_t n) { merging.add_piece(piece, n); });
  watch.report("count", n_pieces, n_pieces);
  return merging;
}

BpeTrainResult BpeTrainer::train(ThreadPool& threads, const Watch& watch) const {
  (void)threads;
  BpeMergeState merging = state_->take_pieces(watch);
  BpeTrainResult result;
  for (int byte = 0; byte < kByteTokens; ++byte) result.token_bytes.emplace_back(1, static_cast<char>(byte));
  const auto max_merges = static_cast<size_t>(state_->max_merges());
  BpeMergeState::Best best;
  while (result.merges.size() < max_merges && merging.find_best(best, watch)) {
    if (result.merges.size() % kMergesPerReport == 0) watch.report("merge", result.merges.size(), max_merges);
    const auto made = static_cast<TokenId>(result.token_bytes.size());
    result.merges.emplace_back(best.left, best.right);
    result.merge_counts.push_back(best.count);
    result.token_bytes.push_back(result.token_bytes[static_cast<size_t>(best.left)] +
                                 result.token_bytes[static_cast<size_t>(best.right)]);
    merging.merge(best, made, watch);
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
