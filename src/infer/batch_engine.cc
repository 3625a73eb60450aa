#include "infer/batch_engine.h"

#include <algorithm>
#include <new>
#include <utility>

#include "infer/ngram_draft.h"

namespace nanochat {

namespace {

// Below this many logits a second thread costs more than it takes over.
constexpr int64_t kLogitsWorthAThread = 16 * 1024;

bool is_memory_failure(const Error& error) {
  return error.status() == Status::out_of_memory || error.status() == Status::working_memory_exhausted ||
         error.status() == Status::budget_exceeded;
}

int64_t pages_within(uint64_t bytes, uint64_t page_bytes) { return static_cast<int64_t>(bytes / page_bytes); }

}  // namespace

BatchEngine::BatchEngine(std::shared_ptr<const Model> model, BatchEngineOptions options)
    : model_(std::move(model)),
      options_(std::move(options)),
      page_bytes_(Memory::allocation_bytes(PoolKind::working,
                                           nanochat::page_bytes(model_->config(), options_.kv_dtype))),
      n_budget_(pages_within(options_.kv_budget_bytes, page_bytes_)),
      prefixes_(pages_within(options_.prefix_cache_bytes, page_bytes_)) {
  out_of_memory_.say("not enough memory to go on with a request");
}

void BatchEngine::require_room(const TokenLoop& loop) const {
  const int64_t n_needed = page_count(loop.n_most());
  if (n_needed <= n_budget_) return;
  throw Error(Status::budget_exceeded)
      .subject("kv_budget_bytes")
      .field("needed_bytes", static_cast<uint64_t>(n_needed) * page_bytes_)
      .field("budget_bytes", options_.kv_budget_bytes)
      .say("a request of up to {} positions needs {} bytes of keys and values, the scheduler has {}",
           loop.n_most(), static_cast<uint64_t>(n_needed) * page_bytes_, options_.kv_budget_bytes)
      .hint("lower max_tokens or the capacity, or give the scheduler more");
}

// --- room --------------------------------------------------------------------------------------------------

const PrefixCache::Node* BatchEngine::last_of(const BatchSequence& sequence) {
  return sequence.path_.empty() ? nullptr : sequence.path_.back();
}

std::span<const int32_t, kPagePositions> BatchEngine::page_tokens(const BatchSequence& sequence,
                                                                  int64_t page) const {
  return std::span(sequence.loop_.tokens())
      .subspan(static_cast<size_t>(page * kPagePositions))
      .first<kPagePositions>();
}

// What the prefix cache has is taken into use first, so that it does not go while the rest is made room for.
bool BatchEngine::admit(BatchSequence& sequence) {
  TokenLoop& loop = sequence.loop_;
  loop.make_room();
  const int64_t n_most = page_count(loop.n_most());
  std::vector<PrefixCache::Node*> path;
  path.reserve(static_cast<size_t>(n_most));
  std::vector<KvPage> pages;
  pages.reserve(static_cast<size_t>(n_most));
  const bool shares = options_.prefix_cache_bytes > 0;
  const int64_t n_shareable = shares ? std::min(std::ssize(loop.tokens()) - 1, loop.n_fixed()) : 0;
  for (int64_t i = 0; (i + 1) * kPagePositions <= n_shareable; ++i) {
    PrefixCache::Node* node = prefixes_.find(path.empty() ? nullptr : path.back(), page_tokens(sequence, i));
    if (node == nullptr || !node->page()) break;
    prefixes_.use(node);
    path.push_back(node);
    pages.push_back(node->page());
  }
  const auto give_up = [&] {
    for (; !path.empty(); path.pop_back()) prefixes_.leave(path.back());
  };
  const int64_t n_own = n_most - std::ssize(path);
  if (n_promised_pages() + n_own > n_budget_) {
    give_up();
    return false;
  }
  try {
    sequence.cache_.emplace(model_, loop.capacity(), KvOptions{options_.kv_dtype, KvReserve::as_needed},
                            pages);
  } catch (...) {
    give_up();
    throw;
  }
  sequence.path_ = std::move(path);
  sequence.n_shared_ = std::ssize(pages);
  sequence.shares_ = shares;
  sequence.n_own_pages_ = n_own;
  sequence.n_next_guess_ = options_.draft_tokens;
  loop.evaluated(sequence.n_shared_ * kPagePositions);
  sequence.counts_.n_prompt_reused += sequence.n_shared_ * kPagePositions;
  counts_.n_prompt_reused += sequence.n_shared_ * kPagePositions;
  n_promised_ += n_own;
  while (n_promised_pages() + prefixes_.n_unused() > n_budget_) prefixes_.evict_one();
  return true;
}

void BatchEngine::release(BatchSequence& sequence) noexcept {
  sequence.cache_.reset();
  for (; !sequence.path_.empty(); sequence.path_.pop_back()) prefixes_.leave(sequence.path_.back());
  n_promised_ -= std::exchange(sequence.n_own_pages_, 0);
  sequence.shares_ = false;
}

// Evicts rather than fails.
bool BatchEngine::make_writable(BatchSequence& sequence, int64_t n_tokens) {
  while (true) {
    try {
      sequence.cache_->prepare(n_tokens);
      return true;
    } catch (const Error& error) {
      if (is_memory_failure(error) && prefixes_.evict_one()) continue;
      sequence.failure_ = error;
    } catch (const std::bad_alloc&) {
      sequence.failure_ = out_of_memory_;
    }
    return false;
  }
}

// --- one pass ----------------------------------------------------------------------------------------------

void BatchEngine::run(std::span<BatchSequence* const> sequences) {
  plan(sequences);
  if (parts_.empty()) return;
  evaluate();
  accept_all();
}

// A sequence whose next token waits for one row gets it. The others share prefill_rows; who had some longest
// ago is the first.
void BatchEngine::plan(std::span<BatchSequence* const> sequences) {
  const auto is_earlier = [](const BatchSequence* a, const BatchSequence* b) {
    return a->last_prompt_pass_ < b->last_prompt_pass_;
  };
  parts_.clear();
  prompts_.clear();
  tokens_.clear();
  for (BatchSequence* sequence : sequences) {
    TokenLoop& loop = sequence->loop_;
    loop.make_room();
    // What a slide moves and what was guessed wrongly.
    sequence->cache_->truncate(std::min(loop.n_evaluated(), sequence->cache_->length()));
    if (loop.pending().size() > 1) {
      prompts_.insert(std::upper_bound(prompts_.begin(), prompts_.end(), sequence, is_earlier), sequence);
    } else {
      add_part(*sequence, 1, guess_limit(*sequence));
    }
  }
  int64_t n_left = options_.prefill_rows;
  for (BatchSequence* sequence : prompts_) {
    if (n_left == 0) break;
    const int64_t n = claim_pages(*sequence, n_left);
    if (n == 0) continue;
    add_part(*sequence, n, 0);
    sequence->last_prompt_pass_ = counts_.n_passes + 1;
    n_left -= n;
  }
}

void BatchEngine::add_part(BatchSequence& sequence, int64_t n_tokens, int64_t n_guesses) {
  const auto pending = sequence.loop_.pending();
  const auto first = static_cast<int64_t>(tokens_.size());
  tokens_.insert(tokens_.end(), pending.begin(), pending.begin() + n_tokens);
  if (n_guesses > 0) guess_next(sequence.loop_.tokens(), options_.draft_ngram, n_guesses, tokens_);
  n_guesses = std::ssize(tokens_) - first - n_tokens;
  if (!make_writable(sequence, n_tokens + n_guesses)) {
    tokens_.resize(static_cast<size_t>(first));
    return;
  }
  const int64_t n_logits = n_tokens == std::ssize(pending) ? 1 + n_guesses : 0;
  const int64_t first_logits = parts_.empty() ? 0 : parts_.back().first_logits + parts_.back().n_logits;
  parts_.push_back({&sequence, first, n_tokens, n_guesses, first_logits, n_logits, 0, 0, 0});
}

int64_t BatchEngine::guess_limit(const BatchSequence& sequence) const {
  const TokenLoop& loop = sequence.loop_;
  return std::min(sequence.n_next_guess_, loop.n_most() - std::ssize(loop.tokens()));
}

// How many of up to n_tokens pending tokens the sequence is to compute itself now. Of pages that begin within
// them, it takes over those that others have, stops before those that others are at, and makes the rest known
// as its own work, so that others wait for them.
int64_t BatchEngine::claim_pages(BatchSequence& sequence, int64_t n_tokens) {
  TokenLoop& loop = sequence.loop_;
  const int64_t n_pending = std::ssize(loop.pending());
  if (!sequence.shares_ || loop.n_generated() > 0) return std::min(n_tokens, n_pending);
  const int64_t n_shareable = std::min(std::ssize(loop.tokens()), loop.n_fixed());
  int64_t end = loop.n_evaluated() + std::min(n_tokens, n_pending);
  for (int64_t page = std::ssize(sequence.path_); page * kPagePositions < end; ++page) {
    const int64_t first = page * kPagePositions, last = first + kPagePositions;
    if (last > n_shareable) break;
    PrefixCache::Node* node = prefixes_.find(last_of(sequence), page_tokens(sequence, page));
    if (node == nullptr) {
      sequence.path_.push_back(prefixes_.add(last_of(sequence), page_tokens(sequence, page), {}));
      continue;
    }
    if (first > loop.n_evaluated()) return first - loop.n_evaluated();
    if (!node->page()) return 0;
    if (last == std::ssize(loop.tokens())) break;  // its last token is wanted for its logits
    adopt(sequence, node);
    loop.evaluated(kPagePositions);
    sequence.counts_.n_prompt_reused += kPagePositions;
    counts_.n_prompt_reused += kPagePositions;
    end = std::min(end + kPagePositions, std::ssize(loop.tokens()));
  }
  return end - loop.n_evaluated();
}

// Goes on with a page of the prefix cache after its own full ones, instead of one that it would fill or has
// filled itself.
void BatchEngine::adopt(BatchSequence& sequence, PrefixCache::Node* node) {
  std::vector<KvPage> pages;
  for (const PrefixCache::Node* own : sequence.path_) pages.push_back(own->page());
  pages.push_back(node->page());
  KvCache cache(model_, sequence.cache_->capacity(), sequence.cache_->options(), pages);
  *sequence.cache_ = std::move(cache);
  prefixes_.use(node);
  sequence.path_.push_back(node);
  ++sequence.n_shared_;
  --sequence.n_own_pages_;
  --n_promised_;
}

void BatchEngine::evaluate() {
  inputs_.clear();
  for (const Part& part : parts_) {
    const auto tokens = std::span<const int32_t>(tokens_).subspan(
        static_cast<size_t>(part.first_token), static_cast<size_t>(part.n_tokens + part.n_guesses));
    const LogitRows guessed = part.n_guesses > 0 ? LogitRows::all : LogitRows::last;
    inputs_.push_back({&*part.sequence->cache_, tokens, part.n_logits == 0 ? LogitRows::none : guessed});
  }
  prepare_rows();
  while (true) {
    try {
      compute_rows();
      break;
    } catch (const Error& error) {
      if (!is_memory_failure(error) || !prefixes_.evict_one()) throw;
    }
  }
  ++counts_.n_passes;
  for (const Part& part : parts_) counts_.n_rows += part.n_tokens + part.n_guesses;
}

void BatchEngine::prepare_rows() {
  samplers_.clear();
  scales_.clear();
  for (const Part& part : parts_) {
    const Sampler& sampler = part.sequence->loop_.sampler();
    samplers_.insert(samplers_.end(), static_cast<size_t>(part.n_logits), &sampler);
    scales_.insert(scales_.end(), static_cast<size_t>(part.n_logits), sampler.top_scale());
  }
  needs_all_.assign(samplers_.size(), 1);
  const size_t n_logits = samplers_.size() * static_cast<size_t>(model_->config().vocab_size);
  if (logits_.size() < n_logits) logits_.resize(n_logits);
}

// Where the logits are out of the host's reach, and somebody could do with a few of them.
bool BatchEngine::may_do_with_top() const {
  if (model_->device().is_host() || options_.on_logits) return false;
  return std::any_of(samplers_.begin(), samplers_.end(),
                     [](const Sampler* sampler) { return sampler->may_do_with_top(); });
}

void BatchEngine::compute_rows() {
  if (!may_do_with_top()) return forward(*model_, inputs_, logits_.data(), {});
  tops_.resize(samplers_.size());
  const auto needs_all = [&](int64_t row) {
    const auto i = static_cast<size_t>(row);
    needs_all_[i] = samplers_[i]->can_sample(tops_[i]) ? 0 : 1;
    return needs_all_[i] != 0;
  };
  forward_top(*model_, inputs_, {scales_, tops_, logits_.data(), needs_all}, {});
}

void BatchEngine::accept_all() {
  const int64_t n_values = std::count(needs_all_.begin(), needs_all_.end(), 1) * model_->config().vocab_size;
  const auto accept_some = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) accept(parts_[static_cast<size_t>(i)]);
  };
  if (parts_.size() > 1 && n_values >= kLogitsWorthAThread) {
    model_->device().threads().parallel_for(std::ssize(parts_), 1, accept_some);
  } else {
    accept_some(0, std::ssize(parts_));
  }
  for (const Part& part : parts_) {
    count(part);
    share_full_pages(*part.sequence);
  }
}

// From several threads, one for each sequence. Whatever goes wrong is the end of this sequence alone.
void BatchEngine::accept(Part& part) noexcept {
  BatchSequence& sequence = *part.sequence;
  try {
    take_logits(part);
  } catch (const Error& error) {
    sequence.failure_ = error;
  } catch (const std::exception&) {
    sequence.failure_ = out_of_memory_;
  }
}

void BatchEngine::take_logits(Part& part) {
  BatchSequence& sequence = *part.sequence;
  TokenLoop& loop = sequence.loop_;
  const int64_t n_before = loop.n_generated();
  part.n_prompt = n_before == 0 ? part.n_tokens : 0;
  loop.evaluated(part.n_tokens);
  const auto vocab = static_cast<size_t>(model_->config().vocab_size);
  for (int64_t i = 0; i < part.n_logits; ++i) {
    const auto row = static_cast<size_t>(part.first_logits + i);
    const auto logits = std::span<const float>(logits_).subspan(row * vocab, vocab);
    if (options_.on_logits) options_.on_logits(sequence, loop.n_generated(), logits);
    sequence.events_.push_back(needs_all_[row] != 0 ? loop.accept(logits) : loop.accept_top(tops_[row]));
    const int32_t token = sequence.events_.back().token;
    // Whether the next row's logits are those after this token.
    const bool guessed =
        i < part.n_guesses && token == tokens_[static_cast<size_t>(part.first_token + part.n_tokens + i)];
    if (guessed) {
      loop.evaluated(1);
      ++part.n_right;
    }
    while (!loop.ended() && !loop.needs_logits()) sequence.events_.push_back(loop.accept({}));
    if (loop.ended() || !guessed || !loop.pending().empty()) break;
  }
  part.n_generated = loop.n_generated() - n_before;
}

void BatchEngine::count(const Part& part) {
  BatchSequence& sequence = *part.sequence;
  for (BatchCounts* counts : {&counts_, &sequence.counts_}) {
    counts->n_prompt_computed += part.n_prompt;
    counts->n_generated += part.n_generated;
    counts->n_guessed += part.n_guesses;
    counts->n_guessed_right += part.n_right;
  }
  // Guesses cost rows: a sequence that guesses badly guesses less.
  if (part.n_guesses == 0) return;
  if (part.n_right == part.n_guesses) {
    sequence.n_next_guess_ = std::min<int64_t>(2 * sequence.n_next_guess_, options_.draft_tokens);
  } else if (part.n_right == 0) {
    sequence.n_next_guess_ = std::max<int64_t>(1, sequence.n_next_guess_ / 2);
  }
}

// Makes pages that became full known by their tokens. Not to share is no failure.
void BatchEngine::share_full_pages(BatchSequence& sequence) noexcept {
  if (!sequence.shares_ || sequence.failure_) return;
  const TokenLoop& loop = sequence.loop_;
  const int64_t n_full = std::min(loop.n_evaluated(), loop.n_fixed()) / kPagePositions;
  try {
    while (sequence.n_shared_ < n_full) {
      const int64_t page = sequence.n_shared_;
      const bool is_claimed = page < std::ssize(sequence.path_);
      PrefixCache::Node* node = is_claimed ? sequence.path_[static_cast<size_t>(page)]
                                           : prefixes_.find(last_of(sequence), page_tokens(sequence, page));
      if (is_claimed) {
        prefixes_.publish(node, sequence.cache_->full_page(page));
      } else if (node == nullptr) {
        sequence.path_.push_back(
            prefixes_.add(last_of(sequence), page_tokens(sequence, page), sequence.cache_->full_page(page)));
      } else if (node->page() && loop.n_evaluated() == (page + 1) * kPagePositions) {
        adopt(sequence, node);
        continue;
      } else {  // somebody was faster, and the page after it is begun
        sequence.shares_ = false;
        return;
      }
      ++sequence.n_shared_;
      --sequence.n_own_pages_;
      --n_promised_;
    }
  } catch (const std::exception&) {
    sequence.shares_ = false;
  }
}

}  // namespace nanochat
