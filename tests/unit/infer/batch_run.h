// Requests of every kind, what each gives alone, and what it gives among others.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "infer/batch_scheduler.h"
#include "infer/generation_loop.h"
#include "unit/infer/generation_run.h"
#include "unit/infer/small_models.h"

// Options are named; those that are not keep their defaults.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace nanochat::testing {

struct Wish {
  std::vector<int32_t> prompt;
  GenerationOptions options;
  int64_t capacity = 0;
};

struct Outcome {
  std::vector<int32_t> tokens;
  std::vector<bool> forced;
  std::vector<uint32_t> logprobs;  // bits
  std::vector<std::vector<std::pair<int32_t, float>>> top;
  std::vector<uint64_t> logits;  // a hash for each token that was drawn
  std::string text;
  Finish finish = Finish::none;
  bool operator==(const Outcome&) const = default;
};

inline void add(const GenerationEvent& event, Outcome& outcome) {
  outcome.text += event.text;
  outcome.finish = event.finish;
  if (event.token < 0) return;
  EXPECT_EQ(event.index, std::ssize(outcome.tokens));
  outcome.tokens.push_back(event.token);
  outcome.forced.push_back(event.forced);
  outcome.logprobs.push_back(std::bit_cast<uint32_t>(event.logprob));
  outcome.top.push_back(event.top);
}

inline uint64_t hash_of(std::span<const float> logits) { return hash64(std::as_bytes(logits)); }

// What a session of its own gives.
inline Outcome alone(const std::shared_ptr<const Model>& model,
                     const std::shared_ptr<const Tokenizer>& tokenizer, const Wish& wish,
                     DType kv = DType::f32) {
  const auto session = std::make_shared<Session>(model, wish.capacity, kv);
  GenerationLoop loop(session, tokenizer, wish.prompt, wish.options);
  Outcome outcome;
  while (outcome.finish == Finish::none) {
    const GenerationEvent event = loop.next({});
    add(event, outcome);
    if (event.forced) continue;
    session->restore_logits({});
    outcome.logits.push_back(hash_of(session->last_logits()));
  }
  return outcome;
}

// A beginning of `expected`: what a request that was ended early may have given.
inline bool is_beginning(const Outcome& part, const Outcome& expected) {
  return part.tokens.size() <= expected.tokens.size() &&
         std::equal(part.tokens.begin(), part.tokens.end(), expected.tokens.begin()) &&
         std::equal(part.logprobs.begin(), part.logprobs.end(), expected.logprobs.begin()) &&
         expected.text.starts_with(part.text);
}

// Wishes that share beginnings, repeat themselves, slide, calculate, stop and sample.
class Wishes {
 public:
  Wishes(const Model& model, uint64_t seed, bool has_tokenizer)
      : model_(model), random_(seed), has_tokenizer_(has_tokenizer) {}

  Wish next() {
    Wish wish;
    wish.capacity = 140 + below(60);
    wish.prompt = prompt();
    GenerationOptions& options = wish.options;
    options.max_tokens = 1 + below(one_in(4) ? 120 : 24);
    options.sampler.seed = random_();
    options.sampler.temperature = one_in(2) ? 0.0F : 0.8F;
    options.sampler.top_logprobs = static_cast<int32_t>(below(3));
    if (one_in(4)) options.sampler.top_k = 5;
    if (one_in(4)) options.sampler.repetition_penalty = 1.1F;
    if (one_in(3)) options.stop_tokens = {static_cast<int32_t>(below(100))};
    if (one_in(3)) {
      options.overflow = Overflow::slide;
      options.n_keep = one_in(2) ? 1 : 70;
      wish.capacity = 80 + below(30);
    } else if (std::ssize(wish.prompt) > wish.capacity) {
      wish.prompt.resize(static_cast<size_t>(wish.capacity));
    }
    if (has_tokenizer_ && one_in(3)) calculate(options);
    if (has_tokenizer_ && one_in(4)) options.stop_strings = {"aa", "12"};
    return wish;
  }

  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool one_in(int64_t n) { return below(n) == 0; }

 private:
  std::vector<int32_t> prompt() {
    const size_t n_shared = one_in(3) ? static_cast<size_t>(64 * below(3)) : static_cast<size_t>(below(170));
    std::vector<int32_t> tokens = some_tokens(model_, n_shared, 1 + random_() % 2);
    if (one_in(3)) {  // what repeats itself can be guessed
      for (size_t i = 0; i < 40; ++i) tokens.push_back(static_cast<int32_t>(i % 3));
    } else if (one_in(2) || tokens.empty()) {
      const auto own = some_tokens(model_, static_cast<size_t>(1 + below(20)), random_());
      tokens.insert(tokens.end(), own.begin(), own.end());
    }
    return tokens;
  }

  // Makes blocks of code likely.
  static void calculate(GenerationOptions& options) {
    options.tools = Tools::calculator;
    options.sampler.top_k = 5;
    options.sampler.temperature = 20.0F;
    for (const int32_t token : {kPythonStart, kPythonEnd, int32_t{'1'}, int32_t{'+'}, int32_t{'2'}}) {
      options.sampler.logit_bias.emplace_back(token, 500.0F);
    }
  }

  const Model& model_;
  std::mt19937_64 random_;
  bool has_tokenizer_;
};

// The logits that each token of each request was drawn from.
class SeenLogits {
 public:
  auto watcher() {
    return [this](const BatchSequence& sequence, int64_t index, std::span<const float> logits) {
      const uint64_t hash = hash_of(logits);
      const std::lock_guard lock(mutex_);
      auto& hashes = seen_[&sequence];
      EXPECT_TRUE(hashes.empty() || hashes.back().first < index);
      hashes.emplace_back(index, hash);
    };
  }
  std::vector<uint64_t> take(const BatchSequence* sequence) {
    const std::lock_guard lock(mutex_);
    std::vector<uint64_t> hashes;
    for (const auto& [index, hash] : seen_[sequence]) hashes.push_back(hash);
    seen_.erase(sequence);
    return hashes;
  }

 private:
  std::mutex mutex_;
  std::map<const BatchSequence*, std::vector<std::pair<int64_t, uint64_t>>> seen_;
};

inline std::shared_ptr<BatchRequest> submit(BatchScheduler& scheduler,
                                            std::shared_ptr<const Tokenizer> tokenizer, const Wish& wish,
                                            void* owner = nullptr) {
  auto request = scheduler.make_request(std::move(tokenizer), wish.prompt, wish.options,
                                        {.capacity = wish.capacity, .owner = owner});
  scheduler.submit(request);
  return request;
}

inline Outcome run_to_end(BatchScheduler& scheduler, BatchRequest& request) {
  Outcome outcome;
  while (outcome.finish == Finish::none) add(scheduler.next(request), outcome);
  return outcome;
}

}  // namespace nanochat::testing
