// From logits to the next token. Immutable after construction: share it between threads.
//
// Order of operations, each on the result of the one before:
//   1. logit bias: added to the logits of the tokens listed.
//   2. penalties, for every token that occurs in the history, c times:
//      repetition: logit / r if logit > 0, else logit * r; then logit - presence - frequency * c.
//   3. temperature 0: the largest logit, the lowest id among equals. Done.
//   4. temperature: logits / t.
//   5. top-k: the k most probable tokens.
//   6. top-p: of these, the shortest prefix, most probable first, whose share is at least p.
//   7. min-p: of these, the tokens at least min_p times as probable as the most probable one.
//   8. draw from what is left, with CounterRandom(seed, stream).uniform(position).
// Equally probable tokens are ordered by id, so a border that falls between them keeps the lowest ids. At
// least one token is always left. The draw depends on the logits, the options and the position alone.
//
// Log probabilities are of the distribution after 1 and 2, before temperature and truncation. Their sum over
// all tokens is the device's, if there is one: it takes a fraction of the time and may differ in the last
// bits from that of another instruction set. Draws never do.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat {

struct SamplerOptions {
  float temperature = 0;         // 0: greedy
  int32_t top_k = 0;             // 0: off
  float top_p = 1;               // 1: off
  float min_p = 0;               // 0: off
  float repetition_penalty = 1;  // 1: off
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint64_t seed = 0;
  uint64_t stream = 0;
  int32_t top_logprobs = -1;  // -1: no log probabilities; 0: of the sampled token; n: and of the n best
  std::vector<std::pair<int32_t, float>> logit_bias;  // -infinity bans a token
};

struct SampledToken {
  int32_t token = -1;
  float logprob = 0;                           // 0 unless asked for
  std::vector<std::pair<int32_t, float>> top;  // most probable first
};

class Sampler {
 public:
  // Throws invalid_argument naming field, value and range. The device, if any, outlives the sampler.
  explicit Sampler(const SamplerOptions& options, Device* device = nullptr);

  // Throws invalid_argument for logits that are NaN or +infinity or leave no token, and out_of_range for a
  // token of the history or of the bias that the logits do not have.
  SampledToken sample(std::span<const float> logits, std::span<const int32_t> history,
                      uint64_t position) const;

  // --- without all the logits ----------------------------------------------------------------------------
  // What sample() gives is decided by few of them, mostly: by the best, when the token is the largest or
  // top-k says how many count, or when the best have so much of the whole that top-p or min-p end among them.
  // Bias, penalties and a draw from all tokens need them all.
  bool may_do_with_top() const;  // for some logits
  float top_scale() const;       // that select_top() is to be given
  bool can_sample(const TopLogits& top) const;
  // The token that sample() draws from the logits that `top` is of, if can_sample(top).
  SampledToken sample(const TopLogits& top, uint64_t position) const;

  // What sample() draws from: one probability per token, sum 1.
  std::vector<double> distribution(std::span<const float> logits, std::span<const int32_t> history) const;

 private:
  class Weights;
  struct Candidate {
    float logit;
    int32_t token;
  };
  static bool is_better(const Candidate& a, const Candidate& b);
  static std::vector<Candidate> select_best(std::span<const float> logits, int64_t k);
  bool is_adjusting() const;
  bool is_truncating(size_t n_tokens) const;
  bool has_top_scale() const;  // whether select_top() can sum for this temperature
  void adjust(std::span<float> logits, std::span<const int32_t> history) const;
  // How much all that is truncated has together: what is known of it.
  struct Mass {
    double least, most;
  };
  std::vector<Candidate> truncate(std::span<const float> logits, float largest) const;
  std::optional<size_t> count_kept(std::span<const Candidate> best, const Weights& weights, Mass mass) const;
  std::optional<std::vector<Candidate>> truncate(const TopLogits& top) const;
  int32_t draw(std::span<const Candidate> kept, const Weights& weights, uint64_t position) const;
  int32_t draw(std::span<const float> logits, size_t best, uint64_t position) const;
  // The largest logit, and the sum of exponentials below it if log probabilities are wanted.
  struct Peak {
    size_t index;
    double total;
  };
  Peak find_peak(std::span<const float> logits) const;
  void add_logprobs(std::span<const float> logits, const Peak& peak, SampledToken& result) const;

  SamplerOptions options_;
  Device* device_;
};

}  // namespace nanochat
