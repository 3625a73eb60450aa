// The scheduler's own behaviour: order, fairness, room, ends, sharing, guessing.
#include "infer/batch_scheduler.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/batch_run.h"

namespace nanochat::testing {
namespace {

class Batch : public ::testing::Test {
 protected:
  Host host_;
  std::shared_ptr<const Model> model_ = host_.load(kStories);

  uint64_t page() const {
    return Memory::allocation_bytes(PoolKind::working, page_bytes(model_->config(), DType::f32));
  }
  std::vector<int32_t> prompt(size_t n, uint64_t seed = 1) const { return some_tokens(*model_, n, seed); }
  static GenerationOptions tokens(int64_t n) { return {.max_tokens = n, .end_tokens = EndTokens::ignore}; }
  Outcome expected(const std::vector<int32_t>& prompt, const GenerationOptions& options) const {
    Outcome outcome = alone(model_, nullptr, {prompt, options, 0});
    outcome.logits.clear();
    return outcome;
  }
  static std::shared_ptr<BatchRequest> submit(BatchScheduler& scheduler, std::vector<int32_t> prompt,
                                              const GenerationOptions& options,
                                              const BatchRequestOptions& request = {}) {
    auto made = scheduler.make_request(nullptr, std::move(prompt), options, request);
    scheduler.submit(made);
    return made;
  }
  static void drain(BatchScheduler& scheduler, BatchRequest& request) {
    while (scheduler.next(request).finish == Finish::none) {
    }
  }
  uint64_t used_bytes() const { return model_->device().memory().stats().used_bytes; }
};

// --- requests ----------------------------------------------------------------------------------------------

TEST_F(Batch, ComputesNothingAtASubmit) {
  BatchScheduler scheduler(model_, {});
  const auto request = submit(scheduler, prompt(10), tokens(3));
  EXPECT_EQ(scheduler.usage().counts.n_passes, 0);
  EXPECT_EQ(scheduler.usage().n_waiting, 1);
  run_to_end(scheduler, *request);
  EXPECT_EQ(scheduler.usage().counts.n_passes, 3);
  EXPECT_EQ(scheduler.usage().n_waiting, 0);
}

TEST_F(Batch, RunsAllThatFitInOnePass) {
  BatchScheduler scheduler(model_, {});
  std::vector<std::shared_ptr<BatchRequest>> requests;
  for (uint64_t i = 0; i < 16; ++i) requests.push_back(submit(scheduler, prompt(1, i), tokens(20)));
  for (const auto& request : requests) EXPECT_EQ(run_to_end(scheduler, *request).tokens.size(), 20U);
  const BatchSchedulerUsage usage = scheduler.usage();
  EXPECT_EQ(usage.counts.n_passes, 20);
  EXPECT_EQ(usage.counts.n_rows, 16 * 20);
  EXPECT_EQ(usage.counts.n_generated, 16 * 20);
}

TEST_F(Batch, RepeatsOnlyHowARequestEnded) {
  BatchScheduler scheduler(model_, {});
  const auto request = submit(scheduler, prompt(4), tokens(2));
  run_to_end(scheduler, *request);
  for (int i = 0; i < 2; ++i) {
    const GenerationEvent event = scheduler.next(*request);
    EXPECT_EQ(event.token, -1);
    EXPECT_EQ(event.index, 1);
    EXPECT_EQ(event.finish, Finish::length);
  }
  EXPECT_FALSE(scheduler.failure(*request));
}

TEST_F(Batch, TellsWhatARequestTook) {
  BatchScheduler scheduler(model_, {});
  const auto request = submit(scheduler, prompt(7), tokens(3));
  EXPECT_EQ(scheduler.usage(*request).generation.prompt_tokens, 7);
  run_to_end(scheduler, *request);
  const BatchRequestUsage usage = scheduler.usage(*request);
  EXPECT_EQ(usage.generation.generated_tokens, 3);
  EXPECT_GT(usage.generation.prompt_seconds, 0);
  EXPECT_GT(usage.generation.decode_seconds, 0);
  EXPECT_EQ(usage.generation.finish, Finish::length);
  EXPECT_EQ(usage.status, Status::ok);
}

TEST_F(Batch, RefusesWhatAGenerationRefuses) {
  BatchScheduler scheduler(model_, {});
  expect_refusal(Status::out_of_range, "prompt 1: token 512", [&] {
    submit(scheduler, {1, 512}, tokens(1));
  });
  expect_refusal(Status::context_full, "its capacity is 5",
                 [&] { submit(scheduler, prompt(6), tokens(1), {.capacity = 5}); });
  expect_refusal(Status::invalid_argument, "max_tokens -1",
                 [&] { submit(scheduler, prompt(6), {.max_tokens = -1}); });
  expect_refusal(Status::out_of_range, "capacity of a request is 99999999",
                 [&] { submit(scheduler, prompt(6), tokens(1), {.capacity = 99999999}); });
  EXPECT_EQ(scheduler.usage().n_submitted, 0);
}

// --- fairness ----------------------------------------------------------------------------------------------

TEST_F(Batch, ALongPromptNeitherStarvesNorIsStarved) {
  BatchSchedulerOptions options;
  options.engine.prefill_rows = 16;
  BatchScheduler scheduler(model_, options);
  const auto quick = submit(scheduler, prompt(1), tokens(100));
  scheduler.next(*quick);
  const auto slow = submit(scheduler, prompt(401), tokens(1));
  const auto other = submit(scheduler, prompt(33, 2), tokens(1));
  int64_t n_before = 0;  // tokens of `quick` until the other two have one
  while (scheduler.usage(*other).generation.generated_tokens == 0) scheduler.next(*quick), ++n_before;
  EXPECT_LE(n_before, 7);  // takes turns with the long one: 3 passes of its own
  while (scheduler.usage(*slow).generation.generated_tokens == 0) scheduler.next(*quick), ++n_before;
  EXPECT_EQ(n_before, (401 + 33 + 15) / 16);  // a token for each pass
  EXPECT_EQ(run_to_end(scheduler, *slow), expected(prompt(401), tokens(1)));
}

TEST_F(Batch, BoundsThePromptRowsOfAPass) {
  BatchSchedulerOptions options;
  options.engine.prefill_rows = 10;
  BatchScheduler scheduler(model_, options);
  std::vector<std::shared_ptr<BatchRequest>> requests;
  for (uint64_t i = 0; i < 4; ++i) requests.push_back(submit(scheduler, prompt(50, i), tokens(1)));
  for (const auto& request : requests) run_to_end(scheduler, *request);
  EXPECT_EQ(scheduler.usage().counts.n_rows, 200);
  EXPECT_GE(scheduler.usage().counts.n_passes, 20);
}

// --- room --------------------------------------------------------------------------------------------------

TEST_F(Batch, RunsAsManyAsTheBudgetHasRoomFor) {
  BatchSchedulerOptions options;
  options.engine.kv_budget_bytes = 4 * page();
  BatchScheduler scheduler(model_, options);
  std::vector<std::shared_ptr<BatchRequest>> requests;
  for (uint64_t i = 0; i < 5; ++i) requests.push_back(submit(scheduler, prompt(60, i), tokens(20)));
  scheduler.next(*requests[0]);
  EXPECT_EQ(scheduler.usage().n_running, 2);  // two pages each
  EXPECT_EQ(scheduler.usage().kv_promised_bytes, 4 * page());
  for (const auto& request : requests) drain(scheduler, *request);
  EXPECT_EQ(scheduler.usage().n_ended, 5);
  EXPECT_EQ(scheduler.usage().kv_promised_bytes, 0U);
}

TEST_F(Batch, RefusesARequestThatCouldNeverRun) {
  BatchSchedulerOptions options;
  options.engine.kv_budget_bytes = 2 * page() + 5;
  BatchScheduler scheduler(model_, options);
  const auto too_long = [&] { submit(scheduler, prompt(100), tokens(30)); };
  expect_refusal(Status::budget_exceeded, std::to_string(3 * page()), too_long);
  expect_refusal(Status::budget_exceeded, std::to_string(2 * page() + 5), too_long);
  run_to_end(scheduler, *submit(scheduler, prompt(100), tokens(29)));  // the last token is not evaluated
}

TEST_F(Batch, RefusesMoreThanTheQueueHolds) {
  BatchSchedulerOptions options;
  options.max_running = 2;
  options.max_waiting = 3;
  BatchScheduler scheduler(model_, options);
  std::vector<std::shared_ptr<BatchRequest>> requests;
  for (int i = 0; i < 5; ++i) requests.push_back(submit(scheduler, prompt(3), tokens(2)));
  const auto one_more = [&] { submit(scheduler, prompt(3), tokens(2)); };
  expect_refusal(Status::queue_full, "0 requests run and 5 wait, the limits are 2 and 3", one_more);
  scheduler.next(*requests[0]);
  expect_refusal(Status::queue_full, "2 requests run and 3 wait", one_more);
  drain(scheduler, *requests[0]);
  one_more();
}

TEST_F(Batch, GivesTheMemoryOfARequestBackWhenItEndsOrIsForgotten) {
  BatchSchedulerOptions options;
  options.prefix_cache_bytes = 0;
  BatchScheduler scheduler(model_, options);
  const uint64_t before = used_bytes();
  const auto ended = submit(scheduler, prompt(200), tokens(2));
  const auto forgotten = submit(scheduler, prompt(200), tokens(50));
  scheduler.next(*forgotten);
  EXPECT_GT(used_bytes(), before);
  run_to_end(scheduler, *ended);
  scheduler.forget(*forgotten);
  EXPECT_EQ(used_bytes(), before);
  EXPECT_EQ(scheduler.usage().n_running, 0);
  const auto waiting = submit(scheduler, prompt(3), tokens(2));
  scheduler.forget(*waiting);
  EXPECT_EQ(scheduler.usage().n_waiting, 0);
}

// --- ends --------------------------------------------------------------------------------------------------

TEST_F(Batch, ACancelledRequestFailsAlone) {
  BatchScheduler scheduler(model_, {});
  const auto other = submit(scheduler, prompt(9), tokens(10));
  const auto cancelled = submit(scheduler, prompt(9, 2), tokens(50));
  const GenerationEvent first = scheduler.next(*cancelled);
  EXPECT_EQ(first.finish, Finish::none);
  scheduler.cancel(*cancelled);
  GenerationEvent event = scheduler.next(*cancelled);
  EXPECT_EQ(event.finish, Finish::error);
  EXPECT_EQ(event.token, -1);
  EXPECT_EQ(scheduler.failure(*cancelled)->status(), Status::cancelled);
  EXPECT_EQ(scheduler.next(*cancelled).finish, Finish::error);
  EXPECT_EQ(run_to_end(scheduler, *other), expected(prompt(9), tokens(10)));
  EXPECT_EQ(scheduler.usage().n_failed, 1);
}

TEST_F(Batch, ASwitchEndsWaitingAndRunningRequests) {
  BatchSchedulerOptions options;
  options.max_running = 1;
  BatchScheduler scheduler(model_, options);
  CancelToken cancel;
  const auto running = submit(scheduler, prompt(9), tokens(50), {.cancel = &cancel});
  const auto waiting = submit(scheduler, prompt(9), tokens(50), {.cancel = &cancel});
  scheduler.next(*running);
  cancel.request();
  EXPECT_EQ(scheduler.next(*running).finish, Finish::error);
  EXPECT_EQ(scheduler.next(*waiting).finish, Finish::error);
  EXPECT_EQ(scheduler.usage(*waiting).status, Status::cancelled);
}

TEST_F(Batch, ARequestFailsWhenItsDeadlineIsOver) {
  BatchScheduler scheduler(model_, {});
  const auto hasty = submit(scheduler, prompt(9), tokens(400), {.deadline_seconds = 1e-9});
  const auto calm = submit(scheduler, prompt(9), tokens(5), {.deadline_seconds = 1e6});
  EXPECT_EQ(run_to_end(scheduler, *hasty).finish, Finish::error);
  EXPECT_EQ(scheduler.failure(*hasty)->status(), Status::deadline_exceeded);
  EXPECT_EQ(run_to_end(scheduler, *calm), expected(prompt(9), tokens(5)));
}

TEST_F(Batch, ARequestWhoseLogitsCannotBeDrawnFromFailsAlone) {
  BatchScheduler scheduler(model_, {});
  GenerationOptions hopeless = tokens(5);
  for (int32_t token = 0; token < 512; ++token) hopeless.sampler.logit_bias.emplace_back(token, -INFINITY);
  const auto failing = submit(scheduler, prompt(70), hopeless);
  const auto other = submit(scheduler, prompt(70), tokens(5));
  EXPECT_EQ(run_to_end(scheduler, *failing).finish, Finish::error);
  EXPECT_EQ(scheduler.failure(*failing)->status(), Status::invalid_argument);
  EXPECT_EQ(run_to_end(scheduler, *other), expected(prompt(70), tokens(5)));
}

TEST_F(Batch, AFailedAllocationEndsOneRequestAtMost) {
  const std::vector<Outcome> right = {expected(prompt(130), tokens(70)), expected(prompt(90, 2), tokens(40))};
  int64_t n_allocations = 1;
  for (int64_t fail_at = 0; fail_at < n_allocations; ++fail_at) {
    BatchSchedulerOptions options;
    options.engine.draft_tokens = 2;
    BatchScheduler scheduler(model_, options);
    const std::shared_ptr<BatchRequest> requests[] = {submit(scheduler, prompt(130), tokens(70)),
                                                      submit(scheduler, prompt(90, 2), tokens(40))};
    model_->device().memory().reclaim();
    int64_t n_asked = 0;
    host_.raw->ask([&] { return n_asked++ != fail_at; });
    Outcome got[2];
    int n_thrown = 0, n_failed = 0;
    for (size_t i = 0; i < 2; ++i) {
      while (got[i].finish == Finish::none) {
        try {
          add(scheduler.next(*requests[i]), got[i]);
        } catch (const Error&) {
          ++n_thrown;
        }
      }
      if (got[i].finish == Finish::error)
        ++n_failed;
      else
        EXPECT_EQ(got[i], right[i]) << "allocation " << fail_at;
    }
    host_.raw->ask(nullptr);
    EXPECT_LE(n_thrown + n_failed, 1) << "allocation " << fail_at;
    n_allocations = std::max(n_allocations, n_asked);
  }
  EXPECT_GT(n_allocations, 2);
}

// --- sharing -----------------------------------------------------------------------------------------------

TEST_F(Batch, TakesALaterPromptsBeginningFromThePrefixCache) {
  BatchScheduler scheduler(model_, {});
  const auto first = submit(scheduler, prompt(300), tokens(5));
  const Outcome outcome = run_to_end(scheduler, *first);
  const auto second = submit(scheduler, prompt(300), tokens(5));
  EXPECT_EQ(run_to_end(scheduler, *second), outcome);
  EXPECT_EQ(scheduler.usage(*first).n_prompt_reused, 0);
  EXPECT_EQ(scheduler.usage(*second).n_prompt_reused, 256);
  EXPECT_EQ(scheduler.usage().counts.n_prompt_computed, 300 + 44);
  EXPECT_EQ(scheduler.usage().prefix_cache_bytes, 4 * page());
}

TEST_F(Batch, SharesWhatARequestGeneratedToo) {
  BatchScheduler scheduler(model_, {});
  const auto first = submit(scheduler, prompt(50), tokens(100));
  std::vector<int32_t> conversation = prompt(50);
  const Outcome answer = run_to_end(scheduler, *first);
  conversation.insert(conversation.end(), answer.tokens.begin(), answer.tokens.end());
  conversation.push_back(7);
  const auto second = submit(scheduler, conversation, tokens(5));
  EXPECT_EQ(run_to_end(scheduler, *second), expected(conversation, tokens(5)));
  EXPECT_EQ(scheduler.usage(*second).n_prompt_reused, 128);
}

TEST_F(Batch, ComputesEqualPromptsThatComeTogetherOnce) {
  for (const int64_t prefill_rows : {1, 7, 64, 100, 1000}) {
    BatchSchedulerOptions options;
    options.engine.prefill_rows = prefill_rows;
    BatchScheduler scheduler(model_, options);
    std::vector<std::shared_ptr<BatchRequest>> requests;
    for (int i = 0; i < 4; ++i) requests.push_back(submit(scheduler, prompt(200), tokens(3)));
    for (const auto& request : requests) {
      EXPECT_EQ(run_to_end(scheduler, *request), expected(prompt(200), tokens(3)));
    }
    EXPECT_EQ(scheduler.usage().counts.n_prompt_reused, 3 * 192) << prefill_rows;
    EXPECT_EQ(scheduler.usage().counts.n_prompt_computed, 200 + 3 * 8) << prefill_rows;
  }
}

TEST_F(Batch, EqualTokensElsewhereAreAnotherPage) {
  BatchScheduler scheduler(model_, {});
  std::vector<int32_t> thrice;
  for (int i = 0; i < 3; ++i) {
    for (const int32_t token : prompt(64)) thrice.push_back(token);
  }
  const std::vector<int32_t> other = prompt(128, 2);
  std::vector<int32_t> elsewhere = prompt(64, 3);
  elsewhere.insert(elsewhere.end(), other.begin() + 64, other.end());
  for (const auto& tokens_of_prompt : {thrice, other, elsewhere, thrice}) {
    EXPECT_EQ(run_to_end(scheduler, *submit(scheduler, tokens_of_prompt, tokens(3))),
              expected(tokens_of_prompt, tokens(3)));
  }
  EXPECT_EQ(scheduler.usage().counts.n_prompt_reused, 128);  // of `thrice`, when it comes again
}

TEST_F(Batch, AnotherComputesWhatACancelledRequestWasAt) {
  BatchSchedulerOptions options;
  options.engine.prefill_rows = 10;
  BatchScheduler scheduler(model_, options);
  const auto other = submit(scheduler, prompt(1), tokens(200));
  const auto first = submit(scheduler, prompt(200), tokens(3));
  const auto second = submit(scheduler, prompt(200), tokens(3));
  for (int i = 0; i < 9; ++i) scheduler.next(*other);  // one page and a half
  scheduler.cancel(*first);
  EXPECT_EQ(run_to_end(scheduler, *second), expected(prompt(200), tokens(3)));
  EXPECT_EQ(scheduler.usage(*second).n_prompt_reused, 64);
}

TEST_F(Batch, EvictsTheLongestUnusedPagesForRequests) {
  BatchSchedulerOptions options;
  options.engine.kv_budget_bytes = 6 * page();
  options.prefix_cache_bytes = 6 * page();
  BatchScheduler scheduler(model_, options);
  for (const uint64_t seed : {1, 2, 3})
    run_to_end(scheduler, *submit(scheduler, prompt(129, seed), tokens(1)));
  EXPECT_EQ(scheduler.usage().prefix_cache_bytes, 5 * page());  // the third needed a page of the first
  run_to_end(scheduler, *submit(scheduler, prompt(129, 4), tokens(1)));  // three pages, two of them to keep
  EXPECT_EQ(scheduler.usage().n_prefix_evictions, 3);
  const auto again = submit(scheduler, prompt(129, 3), tokens(1));
  EXPECT_EQ(run_to_end(scheduler, *again), expected(prompt(129, 3), tokens(1)));
  EXPECT_EQ(scheduler.usage(*again).n_prompt_reused, 128);
}

TEST_F(Batch, SharesNothingWithoutAPrefixCache) {
  BatchSchedulerOptions options;
  options.prefix_cache_bytes = 0;
  BatchScheduler scheduler(model_, options);
  for (int i = 0; i < 2; ++i) run_to_end(scheduler, *submit(scheduler, prompt(200), tokens(1)));
  EXPECT_EQ(scheduler.usage().counts.n_prompt_reused, 0);
  EXPECT_EQ(scheduler.usage().prefix_cache_bytes, 0U);
}

// --- guessing ----------------------------------------------------------------------------------------------

TEST_F(Batch, GuessesSaveForwardPassesAndChangeNothing) {
  BatchSchedulerOptions options;
  options.engine.draft_tokens = 8;
  BatchScheduler scheduler(model_, options);
  const auto request = submit(scheduler, prompt(5), tokens(400));
  EXPECT_EQ(run_to_end(scheduler, *request), expected(prompt(5), tokens(400)));
  const BatchRequestUsage usage = scheduler.usage(*request);
  EXPECT_GT(usage.n_guessed_right, 20);
  EXPECT_EQ(scheduler.usage().counts.n_passes, 400 - usage.n_guessed_right);
  EXPECT_GE(usage.n_guessed, usage.n_guessed_right);
}

// --- whichever comes first ---------------------------------------------------------------------------------

TEST_F(Batch, GivesEventsOfAllRequestsInTurns) {
  BatchScheduler scheduler(model_, {});
  int owners[3];
  std::vector<std::shared_ptr<BatchRequest>> requests;
  for (int& owner : owners) requests.push_back(submit(scheduler, prompt(3), tokens(4), {.owner = &owner}));
  BatchRequest* request = nullptr;
  GenerationEvent event;
  std::vector<int> n_events(3);
  for (int i = 0; i < 12; ++i) {
    request = scheduler.next_of_any(request, 0, event);
    ASSERT_NE(request, nullptr);
    ++n_events[static_cast<size_t>(static_cast<int*>(request->owner()) - owners)];
    EXPECT_EQ(event.index, i / 3);
  }
  EXPECT_EQ(n_events, std::vector<int>(3, 4));
  EXPECT_EQ(scheduler.next_of_any(request, 0, event), nullptr);
}

TEST_F(Batch, ARequestInHandIsNotGivenToAnother) {
  BatchScheduler scheduler(model_, {});
  const auto one = submit(scheduler, prompt(3), tokens(4));
  const auto two = submit(scheduler, prompt(4), tokens(4));
  GenerationEvent event;
  BatchRequest* held = scheduler.next_of_any(nullptr, 0, event);
  EXPECT_EQ(held, one.get());
  BatchRequest* other = nullptr;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(other = scheduler.next_of_any(other, 0, event), two.get());
  EXPECT_EQ(scheduler.next_of_any(other, 0, event), nullptr);
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(held = scheduler.next_of_any(held, 0, event), one.get());
    EXPECT_EQ(event.index, i);
  }
}

TEST_F(Batch, GivesTheEndOfAFailedRequestOnce) {
  BatchScheduler scheduler(model_, {});
  const auto request = submit(scheduler, prompt(3), tokens(4));
  scheduler.cancel(*request);
  GenerationEvent event;
  EXPECT_EQ(scheduler.next_of_any(nullptr, 0, event), request.get());
  EXPECT_EQ(event.finish, Finish::error);
  EXPECT_EQ(scheduler.next_of_any(request.get(), 0, event), nullptr);
}

TEST_F(Batch, ARequestThatNobodyReadsPauses) {
  BatchSchedulerOptions options;
  options.max_unread = 4;
  options.max_running = 1;
  BatchScheduler scheduler(model_, options);
  const auto unread = submit(scheduler, prompt(3), tokens(10));
  const auto queued = submit(scheduler, prompt(3), tokens(1));
  expect_refusal(Status::invalid_state, "request 2 waits in the queue", [&] { scheduler.next(*queued); });
  EXPECT_EQ(scheduler.usage(*unread).generation.generated_tokens, 4);
  EXPECT_EQ(run_to_end(scheduler, *unread), expected(prompt(3), tokens(10)));
  EXPECT_EQ(run_to_end(scheduler, *queued).finish, Finish::length);
}

}  // namespace
}  // namespace nanochat::testing
