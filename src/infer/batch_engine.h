// Many sequences through one forward pass at a time: their pages, their rows, what their logits mean. The
// bits of a sequence do not depend on the others.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "infer/prefix_cache.h"
#include "infer/token_loop.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace nanochat {

class BatchSequence;

struct BatchEngineOptions {
  int64_t prefill_rows = 256;       // of prompts, per pass
  uint64_t kv_budget_bytes = 0;     // pages of all sequences and of the prefix cache
  uint64_t prefix_cache_bytes = 0;  // of these, pages that no sequence uses; 0: nothing is shared
  DType kv_dtype = DType::f32;
  int32_t draft_tokens = 0;  // guessed tokens per sequence and pass; 0: none
  int32_t draft_ngram = 3;
  // Called by tests with the logits that token `index` of a sequence is drawn from, from any thread.
  std::function<void(const BatchSequence&, int64_t index, std::span<const float> logits)> on_logits;
};

struct BatchCounts {
  int64_t n_passes = 0, n_rows = 0;
  int64_t n_prompt_computed = 0, n_prompt_reused = 0;  // tokens; what a slide moves is computed again
  int64_t n_generated = 0, n_guessed = 0, n_guessed_right = 0;
};

// A sequence that an engine runs. Between two passes whoever runs the engine takes its new events.
class BatchSequence {
 public:
  explicit BatchSequence(TokenLoop loop) : loop_(std::move(loop)) {}

  const TokenLoop& loop() const { return loop_; }
  std::list<GenerationEvent>& events() { return events_; }
  const std::optional<Error>& failure() const { return failure_; }  // set: it is at its end
  bool is_over() const { return failure_ || loop_.ended(); }
  const BatchCounts& counts() const { return counts_; }  // without passes and rows

 private:
  friend class BatchEngine;
  TokenLoop loop_;
  std::list<GenerationEvent> events_;
  std::optional<Error> failure_;
  BatchCounts counts_;

  std::optional<KvCache> cache_;
  std::vector<PrefixCache::Node*> path_;  // its first pages in the prefix cache; room is reserved
  int64_t n_shared_ = 0;                  // of these, those with a page; it computes the others now
  bool shares_ = false;                   // whether the path may grow
  int64_t n_own_pages_ = 0;               // that it may have besides
  int64_t last_prompt_pass_ = 0;
  int64_t n_next_guess_ = 0;
};

// One thread at a time.
class BatchEngine {
 public:
  BatchEngine(std::shared_ptr<const Model> model, BatchEngineOptions options);

  // Throws budget_exceeded, with both numbers, for a sequence that could not run alone.
  void require_room(const TokenLoop& loop) const;

  // Gives a sequence room for all it can come to need; false: not now. Unchanged if it throws.
  bool admit(BatchSequence& sequence);
  void release(BatchSequence& sequence) noexcept;  // the room; an admitted sequence must not die with it

  // One forward pass over these admitted sequences, none of which is over: a row for each that decodes, with
  // what it guesses, and some of the others' prompts. A failure of one sequence is its end and no other's. If
  // it throws, no sequence has moved, and the next call does the same again.
  void run(std::span<BatchSequence* const> sequences);

  const BatchCounts& counts() const { return counts_; }
  const PrefixCache& prefix_cache() const { return prefixes_; }
  uint64_t page_bytes() const { return page_bytes_; }
  int64_t n_budget_pages() const { return n_budget_; }
  int64_t n_promised_pages() const { return n_promised_ + prefixes_.n_used(); }

 private:
  // What a sequence evaluates in a pass.
  struct Part {
    BatchSequence* sequence;
    int64_t first_token, n_tokens;  // in tokens_; guesses follow
    int64_t n_guesses;
    int64_t first_logits, n_logits;          // rows of logits_
    int64_t n_prompt, n_generated, n_right;  // what came of it
  };

  void plan(std::span<BatchSequence* const> sequences);
  void add_part(BatchSequence& sequence, int64_t n_tokens, int64_t n_guesses);
  int64_t claim_pages(BatchSequence& sequence, int64_t n_tokens);
  void adopt(BatchSequence& sequence, PrefixCache::Node* node);
  bool make_writable(BatchSequence& sequence, int64_t n_tokens);
  void evaluate();
  void prepare_rows();
  bool may_do_with_top() const;
  void compute_rows();
  void accept_all();
  void accept(Part& part) noexcept;
  void take_logits(Part& part);
  void count(const Part& part);
  void share_full_pages(BatchSequence& sequence) noexcept;
  std::span<const int32_t, kPagePositions> page_tokens(const BatchSequence& sequence, int64_t page) const;
  static const PrefixCache::Node* last_of(const BatchSequence& sequence);
  int64_t guess_limit(const BatchSequence& sequence) const;

  std::shared_ptr<const Model> model_;
  BatchEngineOptions options_;
  uint64_t page_bytes_;
  int64_t n_budget_;
  PrefixCache prefixes_;
  int64_t n_promised_ = 0;  // pages that admitted sequences may have besides those in the prefix cache
  BatchCounts counts_;
  Error out_of_memory_{Status::out_of_memory};  // made before memory is short

  // Of the pass under way; kept for their memory.
  std::vector<Part> parts_;
  std::vector<BatchSequence*> prompts_;
  std::vector<int32_t> tokens_;
  std::vector<SequenceInput> inputs_;
  std::vector<float> logits_;
  // Of rows of logits_. A row is filled if the sampler needs all of it; else its top does.
  std::vector<const Sampler*> samplers_;
  std::vector<float> scales_;
  std::vector<TopLogits> tops_;
  std::vector<char> needs_all_;
};

}  // namespace nanochat
