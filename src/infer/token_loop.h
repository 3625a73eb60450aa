// The body of every generation: what is to be evaluated next, and what the logits then mean. Whoever has a
// sequence runs it: GenerationLoop for a session of its own, BatchScheduler for many sequences at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "infer/generation.h"
#include "infer/text_stream.h"
#include "infer/tool_use.h"
#include "model/config.h"

namespace nanochat {

// One turn:
//   while (needs_logits() && !pending().empty()) { make_room(); evaluate some of pending(); evaluated(n); }
//   GenerationEvent event = accept(logits after the last token, if needs_logits());
// What was evaluated is the first n_evaluated() of tokens(); make_room() may take some of that back.
class TokenLoop {
 public:
  // held: what the sequence has already. device: see Sampler. Statuses as nanochat_generation_start()
  // documents.
  TokenLoop(const ModelConfig& config, int64_t capacity, std::span<const int32_t> held,
            std::shared_ptr<const Tokenizer> tokenizer, std::vector<int32_t> prompt,
            GenerationOptions options, Device* device = nullptr);

  bool ended() const { return last_.finish != Finish::none; }
  const GenerationEvent& last() const { return last_; }  // once ended: how, without token and text
  bool needs_logits() const { return !ended() && !(calculator_ && calculator_->has_forced()); }

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int64_t n_evaluated() const { return n_evaluated_; }
  std::span<const int32_t> pending() const { return std::span(tokens_).subspan(size_t(n_evaluated_)); }
  void evaluated(int64_t n_tokens) { n_evaluated_ += n_tokens; }

  // Of a sequence that is full, keeps the first n_keep tokens in place and makes the newest pending again:
  // they move, so they are computed again. The sequence is to be cut to n_evaluated() tokens afterwards.
  void make_room();
  int64_t n_fixed() const;  // leading tokens that stay where they are, whatever comes

  // The next token; `logits` are unused unless needs_logits(). Unchanged if it throws. One that has ended is
  // not asked any more.
  GenerationEvent accept(std::span<const float> logits);
  GenerationEvent accept_top(const TopLogits& top);  // that sampler().can_sample()
  const Sampler& sampler() const { return sampler_; }

  int64_t capacity() const { return capacity_; }
  int64_t n_prompt() const { return n_prompt_; }
  int64_t n_generated() const { return n_generated_; }
  int64_t n_most() const;  // tokens that can be evaluated at once: all but the last, or the capacity

 private:
  template <class Sample>
  GenerationEvent take(Sample sample);
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t newest_to_keep() const;
  bool is_end(int32_t token) const;
  Finish finish_without_text(int32_t token) const;

  int64_t capacity_;
  GenerationOptions options_;
  Sampler sampler_;
  std::vector<int32_t> ends_;
  std::optional<TextStream> text_;  // none without a tokenizer
  std::optional<CalculatorTool> calculator_;

  std::vector<int32_t> tokens_;
  int64_t n_evaluated_ = 0;
  int64_t first_position_ = 0;  // of the first generated token; sliding does not change it
  int64_t n_prompt_ = 0, n_generated_ = 0;
  GenerationEvent last_;
};

}  // namespace nanochat
