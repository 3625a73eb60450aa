// Generation over scripted logits: sliding, failures, sampling.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "infer/generation.h"
#include "unit/infer/generation_run.h"

namespace nanochat::testing {
namespace {

// --- sliding -----------------------------------------------------------------------------------------------

TEST(Generation, KeepsTheStartAndTheNewerHalfWhenItSlides) {
  const auto source = source_saying(ids("abcdefghijklmnop"), 11, 3);
  GenerationLoop loop(source, nullptr, {1, 2, 3}, {.overflow = Overflow::slide, .n_keep = 3});
  for (int i = 0; i < 9; ++i) loop.next({});
  EXPECT_EQ(source->tokens(), (std::vector<int32_t>{1, 2, 3, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}));
  EXPECT_EQ(loop.next({}).finish, Finish::none);
  EXPECT_EQ(source->tokens(), (std::vector<int32_t>{1, 2, 3, 'e', 'f', 'g', 'h', 'i'}));
}

TEST(Generation, SlidesAsIfTheKeptTokensWereAPromptOfTheirOwn) {
  const auto source = std::make_shared<ScriptedSource>(kVocab, 20, from_tokens);
  GenerationOptions options{.overflow = Overflow::slide, .n_keep = 2, .end_tokens = EndTokens::ignore};
  GenerationLoop loop(source, nullptr, ids("hello"), options);
  std::vector<int32_t> context = ids("hello");
  for (int i = 0; i < 200; ++i) {
    if (context.size() > 20) context.erase(context.begin() + 2, context.end() - 1 - 9);
    const Logits logits = from_tokens(context);
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    ASSERT_EQ(loop.next({}).token, best) << "token " << i;
    context.push_back(static_cast<int32_t>(best));
  }
}

TEST(Generation, KeepsOfALongPromptTheStartAndTheNewestThatLeaveRoom) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 100; ++i) prompt.push_back(i);
  const auto after_first_pull = [&](int64_t max_tokens, int64_t n_keep, int64_t capacity) {
    const auto source = source_saying({1}, capacity);
    GenerationLoop loop(source, nullptr, prompt,
                        {.max_tokens = max_tokens, .overflow = Overflow::slide, .n_keep = n_keep});
    loop.next({});
    return source->tokens();
  };
  EXPECT_EQ(after_first_pull(0, 2, 10), (std::vector<int32_t>{0, 1, 96, 97, 98, 99}));
  EXPECT_EQ(after_first_pull(3, 2, 10), (std::vector<int32_t>{0, 1, 95, 96, 97, 98, 99}));
  EXPECT_EQ(after_first_pull(0, 9, 10), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 99}));
  EXPECT_EQ(after_first_pull(0, 0, 2), (std::vector<int32_t>{0, 99}));
}

TEST(Generation, KeepsTheSessionsStartForALongPrompt) {
  const auto source = source_saying({1}, 8);
  source->append(ids("start"), LogitRows::none, nullptr, {});
  GenerationLoop loop(source, nullptr, ids("0123456789"), {.overflow = Overflow::slide, .n_keep = 2});
  loop.next({});
  EXPECT_EQ(source->tokens(), ids("st789"));
}

TEST(Generation, GoesOnForEverInASessionOfTwo) {
  const auto source = source_saying(ids("abcdefgh"), 2);
  const Output run = run_to_end(source, {.max_tokens = 50, .overflow = Overflow::slide});
  EXPECT_EQ(run.tokens.size(), 50U);
  EXPECT_EQ(run.finish, Finish::length);
}

// --- failures ----------------------------------------------------------------------------------------------

struct Scene {
  GenerationOptions options;
  std::vector<int32_t> prompt;
  int64_t capacity = 0;
  ScriptedSource::Script script;
  std::shared_ptr<ScriptedSource> source() const {
    return std::make_shared<ScriptedSource>(kVocab, capacity, script);
  }
};

// A prompt of several forward passes, a calculation, slides: all that a call can be interrupted in.
Scene eventful_scene() {
  Scene scene;
  scene.options.max_tokens = 60;
  scene.options.overflow = Overflow::slide;
  scene.options.n_keep = 1030;
  scene.options.tools = Tools::calculator;
  scene.options.end_tokens = EndTokens::ignore;
  scene.prompt.assign(1040, 'p');
  scene.capacity = 1060;
  std::vector<int32_t> script = {'a', kPythonStart, '6', '*', '7', kPythonEnd};
  for (int32_t i = 0; i < 70; ++i) script.push_back('a' + i % 26);
  scene.script = say(script, kVocab, 1040);
  return scene;
}

TEST(Generation, GoesOnWhereItWasAfterAFailureInAnyPlace) {
  const Scene scene = eventful_scene();
  const auto undisturbed = scene.source();
  const Output expected = run_to_end(undisturbed, scene.options, scene.prompt);
  ASSERT_EQ(expected.tokens.size(), 60U);
  ASSERT_NE(std::find(expected.forced.begin(), expected.forced.end(), true), expected.forced.end());
  for (const Status status : {Status::cancelled, Status::working_memory_exhausted}) {
    for (int64_t call = 0; call < undisturbed->n_calls(); ++call) {
      const auto source = scene.source();
      source->fail_at(call, status);
      GenerationLoop loop(source, byte_tokenizer(), scene.prompt, scene.options);
      Output run;
      int n_failures = 0;
      while (run.finish == Finish::none) {
        try {
          add(loop.next({}), run);
        } catch (const Error& error) {
          ASSERT_EQ(error.status(), status);
          ++n_failures;
        }
      }
      ASSERT_EQ(n_failures, 1) << "call " << call;
      ASSERT_EQ(run, expected) << "call " << call;
      ASSERT_EQ(source->tokens(), undisturbed->tokens()) << "call " << call;
    }
  }
}

TEST(Generation, DoesNothingWhileItIsCancelled) {
  const auto source = source_saying(ids("abc"));
  GenerationLoop loop(source, byte_tokenizer(), {kBos}, {.max_tokens = 3});
  CancelToken cancel;
  const Watch watch{.cancel = &cancel, .on_progress = {}};
  std::string text = loop.next(watch).text;
  cancel.request();
  for (int i = 0; i < 3; ++i) {
    expect_refusal(Status::cancelled, "cancelled", [&] { loop.next(watch); });
  }
  cancel.reset();
  text += loop.next(watch).text;
  text += loop.next(watch).text;
  EXPECT_EQ(text, "abc");
}

TEST(Generation, RefusesASessionThatSomebodyElseChanged) {
  const auto source = source_saying(ids("abc"));
  GenerationLoop first(source, nullptr, {kBos}, {});
  GenerationLoop second(source, nullptr, {kBos}, {});
  first.next({});
  expect_refusal(Status::invalid_state, "changed", [&] { second.next({}); });
  source->append({{1}}, LogitRows::none, nullptr, {});
  expect_refusal(Status::invalid_state, "changed", [&] { first.next({}); });
}

// --- sampling ----------------------------------------------------------------------------------------------

std::vector<int32_t> sampled(const SamplerOptions& sampler, int64_t n = 30,
                             const ScriptedSource::Script& script = from_tokens) {
  const auto source = std::make_shared<ScriptedSource>(kVocab, 1000, script);
  return run_to_end(source, {.sampler = sampler, .max_tokens = n, .end_tokens = EndTokens::ignore}).tokens;
}

TEST(Generation, DrawsTheSameFromTheSameSeedAndStream) {
  const SamplerOptions options{.temperature = 1.0F, .seed = 5, .stream = 2};
  EXPECT_EQ(sampled(options), sampled(options));
}

TEST(Generation, DrawsDifferentlyFromAnotherSeedOrStream) {
  const SamplerOptions options{.temperature = 1.0F, .seed = 5, .stream = 2};
  EXPECT_NE(sampled(options), sampled({.temperature = 1.0F, .seed = 6, .stream = 2}));
  EXPECT_NE(sampled(options), sampled({.temperature = 1.0F, .seed = 5, .stream = 3}));
}

TEST(Generation, DrawsByThePositionInTheText) {
  const auto flat = [](const std::vector<int32_t>&) { return Logits(kVocab, 0.0F); };
  const SamplerOptions options{.temperature = 1.0F, .seed = 1};
  const std::vector<int32_t> whole = sampled(options, 20, flat);
  const auto source = std::make_shared<ScriptedSource>(kVocab, 1000, flat);
  std::vector<int32_t> prompt{kBos};
  prompt.insert(prompt.end(), whole.begin(), whole.begin() + 8);
  EXPECT_EQ(
      run_to_end(source, {.sampler = options, .max_tokens = 12, .end_tokens = EndTokens::ignore}, prompt)
          .tokens,
      std::vector<int32_t>(whole.begin() + 8, whole.end()));
}

TEST(Generation, DoesNotRepeatItsDrawsAfterASlide) {
  const auto flat = [](const std::vector<int32_t>&) { return Logits(kVocab, 0.0F); };
  const auto source = std::make_shared<ScriptedSource>(kVocab, 10, flat);
  GenerationOptions options{.sampler = {.temperature = 1.0F, .seed = 1}, .max_tokens = 40};
  options.end_tokens = EndTokens::ignore;
  options.overflow = Overflow::slide;
  EXPECT_EQ(run_to_end(source, options).tokens, sampled(options.sampler, 40, flat));
}

TEST(Generation, ForcesAndBansTokensByBias) {
  const std::vector<int32_t> free = sampled({});
  EXPECT_EQ(sampled({.logit_bias = {{'z', 1000.0F}}}), std::vector<int32_t>(30, 'z'));
  const std::vector<int32_t> banned = sampled({.logit_bias = {{free[0], -INFINITY}}});
  EXPECT_EQ(std::count(banned.begin(), banned.end(), free[0]), 0);
}

TEST(Generation, PenalizesTokensOfPromptAndText) {
  const auto steady = [](const std::vector<int32_t>&) {
    Logits logits(kVocab, 0.0F);
    for (int32_t i = 0; i < 5; ++i) logits[static_cast<size_t>('a' + i)] = 10.0F - static_cast<float>(i);
    return logits;
  };
  EXPECT_EQ(sampled({}, 4, steady), ids("aaaa"));
  EXPECT_EQ(sampled({.repetition_penalty = 100.0F}, 4, steady), ids("abcd"));
  EXPECT_EQ(sampled({.presence_penalty = 5.5F}, 7, steady), ids("abcdeaa"));
  EXPECT_EQ(sampled({.frequency_penalty = 1.5F}, 5, steady), ids("abacb"));
  const auto source = std::make_shared<ScriptedSource>(kVocab, 100, steady);
  EXPECT_EQ(
      run_to_end(source, {.sampler = {.repetition_penalty = 100.0F}, .max_tokens = 1}, ids("ac")).tokens,
      ids("b"));
}

TEST(Generation, ReportsLogProbabilitiesOfADoubleSoftmax) {
  const auto source = std::make_shared<ScriptedSource>(kVocab, 100, from_tokens);
  GenerationLoop loop(source, nullptr, {kBos},
                      {.sampler = {.temperature = 0.7F, .top_k = 3, .seed = 3, .top_logprobs = 4}});
  for (int i = 0; i < 20; ++i) {
    const GenerationEvent event = loop.next({});
    const auto logits = source->last_logits();
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    const auto logprob = [&](int32_t token) { return logits[static_cast<size_t>(token)] - std::log(sum); };
    EXPECT_NEAR(event.logprob, logprob(event.token), 1e-5);
    ASSERT_EQ(event.top.size(), 4U);
    std::vector<double> best;
    for (int32_t token = 0; token < kVocab; ++token) best.push_back(logprob(token));
    std::sort(best.rbegin(), best.rend());
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(event.top[k].second, best[k], 1e-5);
      EXPECT_NEAR(event.top[k].second, logprob(event.top[k].first), 1e-5);
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
