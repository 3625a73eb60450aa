// Generation over scripted logits: where it begins and ends, what it says.
#include "infer/generation.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "unit/infer/generation_run.h"

namespace nanochat::testing {
namespace {

// --- ends --------------------------------------------------------------------------------------------------

TEST(Generation, ComputesNothingBeforeTheFirstPull) {
  const auto source = source_saying(ids("a"));
  GenerationLoop loop(source, nullptr, {kBos}, {});
  EXPECT_EQ(source->n_calls(), 0);
  EXPECT_TRUE(source->tokens().empty());
}

TEST(Generation, GivesExactlyMaxTokensAndDoesNotEvaluateTheLast) {
  for (const int64_t n : {1, 2, 7}) {
    const auto source = source_saying(ids("abcdefghij"));
    GenerationOptions options;
    options.max_tokens = n;
    const Output run = run_to_end(source, options);
    EXPECT_EQ(run.text, std::string("abcdefghij").substr(0, static_cast<size_t>(n)));
    EXPECT_EQ(run.finish, Finish::length);
    EXPECT_EQ(source->n_evaluated(), n);  // the prompt's one token, and all but the last
  }
}

TEST(Generation, RunsUntilTheSessionIsFull) {
  const auto source = source_saying(ids("x"), 10);
  const Output run = run_to_end(source, {});
  EXPECT_EQ(run.tokens.size(), 10U);  // nine fill the session, the tenth is sampled from the last place
  EXPECT_EQ(run.finish, Finish::context);
  EXPECT_EQ(source->tokens().size(), 10U);
}

TEST(Generation, ReportsTheStopTokenWithoutText) {
  GenerationOptions options;
  options.stop_tokens = {'c'};
  const Output run = run_to_end(source_saying(ids("abcd")), options);
  EXPECT_EQ(run.tokens, ids("abc"));
  EXPECT_EQ(run.text, "ab");
  EXPECT_EQ(run.finish, Finish::stop);
}

TEST(Generation, StopsAtTheModelsEndTokens) {
  const auto source = source_saying({'a', 'b', 'c'});
  source->config().eos_tokens = {'x', 'b'};
  EXPECT_EQ(run_to_end(source, {}).tokens, ids("ab"));
}

TEST(Generation, StopsWhereNanochatsEngineStops) {
  EXPECT_EQ(run_to_end(source_saying({'a', kAssistantEnd}), {}).finish, Finish::stop);
  EXPECT_EQ(run_to_end(source_saying({'a', kBos}), {}).finish, Finish::stop);
}

TEST(Generation, GoesOnPastEndTokensIfTold) {
  const auto source = source_saying({'a', kAssistantEnd, 'b', kBos, 'c', 'd'});
  source->config().eos_tokens = {'c'};
  GenerationOptions options;
  options.end_tokens = EndTokens::ignore;
  options.stop_tokens = {'d'};
  const Output run = run_to_end(source, options);
  EXPECT_EQ(run.text, "abc");
  EXPECT_EQ(run.finish, Finish::stop);
}

TEST(Generation, StopsAtAStopStringThatTokensShare) {
  GenerationOptions options;
  options.stop_strings = {"END"};
  const Output run = run_to_end(source_saying(ids("an ENEND!")), options);
  EXPECT_EQ(run.tokens, ids("an ENEND"));
  EXPECT_EQ(run.text, "an EN");
  EXPECT_EQ(run.finish, Finish::string);
}

TEST(Generation, GivesWhatItHeldBackAtTheEnd) {
  GenerationOptions options;
  options.stop_strings = {"END"};
  options.max_tokens = 4;
  EXPECT_EQ(run_to_end(source_saying(ids("a EN")), options).text, "a EN");
  EXPECT_EQ(run_to_end(source_saying({'a', 'E', 'N', kAssistantEnd}), options).text, "aEN");
  EXPECT_EQ(run_to_end(source_saying({'a', 0xe2, 0x82, kAssistantEnd}), options).text, "a\xef\xbf\xbd");
}

TEST(Generation, ReportsTheFirstOfSeveralReasons) {
  GenerationOptions options;
  options.max_tokens = 2;
  options.stop_strings = {"b"};
  EXPECT_EQ(run_to_end(source_saying(ids("ab"), 2), options).finish, Finish::string);
  options.stop_tokens = {'b'};
  EXPECT_EQ(run_to_end(source_saying(ids("ab"), 2), options).finish, Finish::stop);
  EXPECT_EQ(run_to_end(source_saying(ids("ac"), 2), options).finish, Finish::length);
  options.max_tokens = 0;
  EXPECT_EQ(run_to_end(source_saying(ids("ac"), 2), options).finish, Finish::context);
}

TEST(Generation, RepeatsOnlyHowItEnded) {
  const auto source = source_saying(ids("ab"));
  GenerationOptions options;
  options.max_tokens = 2;
  GenerationLoop loop(source, byte_tokenizer(), {kBos}, options);
  run_to_end(loop);
  source->truncate(0);  // it is the caller's again
  for (int i = 0; i < 2; ++i) {
    const GenerationEvent event = loop.next({});
    EXPECT_EQ(event.token, -1);
    EXPECT_EQ(event.index, 1);
    EXPECT_EQ(event.finish, Finish::length);
    EXPECT_EQ(event.text, "");
  }
  EXPECT_EQ(loop.usage().generated_tokens, 2);
}

// --- beginnings --------------------------------------------------------------------------------------------

TEST(Generation, StartsAnEmptySessionWithTheBosToken) {
  GenerationOptions options;
  options.max_tokens = 1;
  const auto by_tokenizer = source_saying(ids("a"));
  run_to_end(by_tokenizer, options, {});
  EXPECT_EQ(by_tokenizer->tokens(), std::vector<int32_t>{kBos});
  const auto by_config = source_saying(ids("a"));
  by_config->config().bos_token = 7;
  GenerationLoop loop(by_config, nullptr, {}, options);
  loop.next({});
  EXPECT_EQ(by_config->tokens(), std::vector<int32_t>{7});
  EXPECT_EQ(loop.usage().prompt_tokens, 1);
}

TEST(Generation, SaysWhatIsMissingToStart) {
  expect_refusal(Status::invalid_argument, "there is no tokenizer",
                 [] { GenerationLoop(source_saying(ids("a")), nullptr, {}, {}); });
  expect_refusal(Status::invalid_argument, "the tokenizer has none",
                 [] { GenerationLoop(source_saying(ids("a")), byte_tokenizer({}, {"<|x|>"}), {}, {}); });
}

TEST(Generation, GoesOnFromTheSessionsTokens) {
  const auto source = source_saying(ids("abc"), 1000, 3);
  source->append(ids("hey"), LogitRows::none, nullptr, {});
  GenerationOptions options;
  options.max_tokens = 3;
  EXPECT_EQ(run_to_end(source, options, {}).text, "abc");
  EXPECT_EQ(source->n_evaluated(), 5);
}

TEST(Generation, EvaluatesTheLastTokenAgainAfterATruncation) {
  const auto source = std::make_shared<ScriptedSource>(kVocab, 100, from_tokens);
  source->append(ids("hey you"), LogitRows::none, nullptr, {});
  source->truncate(3);
  GenerationOptions options;
  options.max_tokens = 5;
  const auto fresh = std::make_shared<ScriptedSource>(kVocab, 100, from_tokens);
  EXPECT_EQ(run_to_end(source, options, {}), run_to_end(fresh, options, ids("hey")));
}

TEST(Generation, RefusesAPromptThatDoesNotFit) {
  const auto source = source_saying(ids("a"), 4);
  source->append(ids("hey"), LogitRows::none, nullptr, {});
  expect_refusal(Status::context_full, "holds 3 tokens and the prompt has 2, but its capacity is 4", [&] {
    GenerationLoop(source, nullptr, {1, 2}, {});
  });
  GenerationLoop fits(source, nullptr, {1}, {});
  EXPECT_EQ(fits.next({}).finish, Finish::context);
}

TEST(Generation, RefusesWhatCannotBeMeant) {
  const auto refuse = [](Status status, std::string_view part, GenerationOptions options,
                         std::vector<int32_t> prompt = {1},
                         std::shared_ptr<const Tokenizer> tokenizer = byte_tokenizer()) {
    expect_refusal(status, part, [&] { GenerationLoop(source_saying({1}, 10), tokenizer, prompt, options); });
  };
  refuse(Status::out_of_range, "prompt 1: token 265", {}, {1, kVocab});
  refuse(Status::out_of_range, "prompt 0: token -1", {}, {-1});
  refuse(Status::out_of_range, "stop_tokens 0: token 300", {.stop_tokens = {300}});
  refuse(Status::out_of_range, "logit_bias 0: token 300", {.sampler = {.logit_bias = {{300, 1.0F}}}});
  refuse(Status::invalid_argument, "max_tokens -1", {.max_tokens = -1});
  refuse(Status::invalid_argument, "stop string 0 is empty", {.stop_strings = {""}});
  refuse(Status::invalid_argument, "n_keep 10", {.overflow = Overflow::slide, .n_keep = 10});
  refuse(Status::invalid_argument, "n_keep -1", {.overflow = Overflow::slide, .n_keep = -1});
  refuse(Status::invalid_argument, "overflow 2", {.overflow = static_cast<Overflow>(2)});
  refuse(Status::invalid_argument, "tools 2", {.tools = static_cast<Tools>(2)});
  refuse(Status::invalid_argument, "1 stop strings need a tokenizer", {.stop_strings = {"a"}}, {1}, nullptr);
  refuse(Status::invalid_argument, "tools need a tokenizer", {.tools = Tools::calculator}, {1}, nullptr);
  refuse(Status::unsupported, "<|python_start|>", {.tools = Tools::calculator}, {1},
         byte_tokenizer({}, {"<|bos|>"}));
  expect_refusal(Status::invalid_argument, "needs a session",
                 [] { GenerationLoop(nullptr, nullptr, {1}, {}); });
}

// --- tools, text, numbers ----------------------------------------------------------------------------------

TEST(Generation, EvaluatesForcedTokensInOnePass) {
  const auto source = source_saying({kPythonStart, '6', '*', '7', kPythonEnd, 'x', 'x', 'x', 'x', '.'}, 1000);
  const Output run = run_to_end(source, {.stop_tokens = {'.'}, .tools = Tools::calculator});
  EXPECT_EQ(run.tokens, (std::vector<int32_t>{kPythonStart, '6', '*', '7', kPythonEnd, kOutputStart, '4', '2',
                                              kOutputEnd, '.'}));
  EXPECT_EQ(run.forced,
            (std::vector<bool>{false, false, false, false, false, true, true, true, true, false}));
  EXPECT_EQ(run.text, "6*742");
  EXPECT_EQ(source->n_calls(), 6);  // the prompt, four tokens, then the end of the block with its result
}

TEST(Generation, LeavesTheCalculatorAloneUnlessAsked) {
  const Output run = run_to_end(source_saying({kPythonStart, '1', kPythonEnd, '.'}), {.stop_tokens = {'.'}});
  EXPECT_EQ(std::count(run.forced.begin(), run.forced.end(), true), 0);
}

TEST(Generation, CountsForcedTokensAsTokens) {
  const auto script = std::vector<int32_t>{kPythonStart, '7', kPythonEnd, '.'};
  const Output by_length = run_to_end(source_saying(script), {.max_tokens = 4, .tools = Tools::calculator});
  EXPECT_EQ(by_length.tokens.back(), kOutputStart);
  EXPECT_EQ(by_length.finish, Finish::length);
  const Output by_context = run_to_end(source_saying(script, 5), {.tools = Tools::calculator});
  EXPECT_EQ(by_context.tokens.size(), 5U);
  EXPECT_EQ(by_context.finish, Finish::context);
}

TEST(Generation, GivesTheTextThatTheTokensDecodeTo) {
  const auto tokenizer = byte_tokenizer();
  for (uint64_t seed = 0; seed < 200; ++seed) {
    GenerationOptions options{.sampler = {.temperature = 5.0F, .seed = seed}, .max_tokens = 40};
    options.stop_strings = {"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"};
    const Output run = run_to_end(std::make_shared<ScriptedSource>(kVocab, 100, from_tokens), options);
    const size_t n = run.tokens.size() - (run.finish == Finish::stop ? 1 : 0);
    const std::string all = replace_invalid_utf8(tokenizer->decode(std::span(run.tokens).first(n), true));
    EXPECT_EQ(run.text, all.substr(0, all.find(options.stop_strings[0]))) << "seed " << seed;
    EXPECT_EQ(run.finish == Finish::string, all.find(options.stop_strings[0]) != std::string::npos);
  }
}

TEST(Generation, WorksWithoutATokenizer) {
  GenerationLoop loop(source_saying(ids("ab")), nullptr, {1}, {.max_tokens = 2});
  EXPECT_EQ(loop.next({}).text, "");
  EXPECT_EQ(loop.next({}).token, 'b');
}

TEST(Generation, CountsWhatItTook) {
  GenerationLoop loop(source_saying(ids("abc"), 100, 2), byte_tokenizer(), {1, 2}, {.max_tokens = 3});
  EXPECT_EQ(loop.usage().prompt_tokens, 2);
  EXPECT_EQ(loop.usage().prompt_seconds, 0.0);
  loop.next({});
  EXPECT_GT(loop.usage().prompt_seconds, 0.0);
  EXPECT_EQ(loop.usage().decode_seconds, 0.0);
  EXPECT_EQ(loop.usage().generated_tokens, 1);
  loop.next({});
  loop.next({});
  EXPECT_GT(loop.usage().decode_seconds, 0.0);
  EXPECT_EQ(loop.usage().generated_tokens, 3);
  EXPECT_EQ(loop.usage().finish, Finish::length);
}

}  // namespace
}  // namespace nanochat::testing
