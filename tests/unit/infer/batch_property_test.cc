// Among others a request gives what it gives alone, bit for bit: tokens, log probabilities, logits, text.
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/batch_run.h"

namespace nanochat::testing {
namespace {

struct Scene {
  const char* name;
  std::string model;
  WeightDtype weights;
  bool has_tokenizer;
  DType kv;
};

class BatchOf : public ::testing::TestWithParam<Scene> {
 protected:
  static std::shared_ptr<const Model> load(int n_threads) {
    return Host("", n_threads).load(GetParam().model, {.weight_dtype = GetParam().weights});
  }
  std::shared_ptr<const Tokenizer> tokenizer() const {
    return GetParam().has_tokenizer ? byte_tokenizer() : nullptr;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Models, BatchOf,
    ::testing::Values(Scene{"stories_f32", kStories, WeightDtype::f32, true, DType::f32},
                      Scene{"stories_bf16", kStories, WeightDtype::bf16, true, DType::f32},
                      Scene{"stories_i8", kStories, WeightDtype::i8, true, DType::f32},
                      Scene{"stories_kv_bf16", kStories, WeightDtype::bf16, true, DType::bf16},
                      Scene{"smearing_kv_i8", kSmearing, WeightDtype::f32, false, DType::i8},
                      Scene{"smearing_f32", kSmearing, WeightDtype::f32, false, DType::f32},
                      Scene{"plain_bf16", kPlain, WeightDtype::bf16, false, DType::f32}),
    [](const auto& parameter) { return parameter.param.name; });

struct Job {
  Wish wish;
  Outcome expected, got;
  std::shared_ptr<BatchRequest> request;
  bool is_cancelled = false;
};

BatchSchedulerOptions some_options(Wishes& wishes, const Model& model, DType kv) {
  BatchSchedulerOptions options;
  options.engine.kv_dtype = kv;
  options.max_running = static_cast<int32_t>(1 + wishes.below(wishes.one_in(2) ? 4 : 32));
  options.engine.prefill_rows = wishes.one_in(3) ? 1 + wishes.below(10) : 1 + wishes.below(300);
  options.engine.draft_tokens = wishes.one_in(2) ? 0 : static_cast<int32_t>(1 + wishes.below(6));
  options.engine.draft_ngram = static_cast<int32_t>(1 + wishes.below(3));
  const uint64_t page = Memory::allocation_bytes(PoolKind::working, page_bytes(model.config(), kv));
  options.engine.kv_budget_bytes = page * static_cast<uint64_t>(4 + wishes.below(60));
  if (wishes.one_in(3)) options.prefix_cache_bytes = 0;
  if (wishes.one_in(3)) options.prefix_cache_bytes = page * static_cast<uint64_t>(wishes.below(6));
  if (wishes.one_in(4)) options.max_unread = 1 + wishes.below(5);
  return options;
}

// A neighbour may be cancelled or forgotten at any time; the others do not notice.
void take_some(BatchScheduler& scheduler, std::vector<Job>& jobs, Wishes& wishes) {
  Job& job = jobs[static_cast<size_t>(wishes.below(std::ssize(jobs)))];
  if (!job.request || job.got.finish != Finish::none) return;
  if (wishes.one_in(60)) {
    job.is_cancelled = true;
    scheduler.cancel(*job.request);
  }
  for (int64_t n = 1 + wishes.below(8); n > 0 && job.got.finish == Finish::none; --n) {
    try {
      add(scheduler.next(*job.request), job.got);
    } catch (const Error& error) {
      ASSERT_EQ(error.status(), Status::invalid_state) << error.message();
      return;  // all that run are paused: others are read first
    }
  }
}

TEST_P(BatchOf, GivesWhatEachGivesAlone) {
  BatchCounts all;
  int64_t n_forced = 0, n_evicted = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const auto model = load(static_cast<int>(1 + seed % 8));
    Wishes wishes(*model, seed, GetParam().has_tokenizer);
    SeenLogits seen;
    BatchSchedulerOptions options = some_options(wishes, *model, GetParam().kv);
    options.engine.on_logits = seen.watcher();
    BatchScheduler scheduler(model, options);
    std::vector<Job> jobs(static_cast<size_t>(1 + wishes.below(40)));
    for (Job& job : jobs) {
      job.wish = wishes.next();
      job.expected = alone(model, tokenizer(), job.wish, GetParam().kv);
    }
    size_t n_submitted = 0;
    const auto n_open = [&] {
      return std::count_if(jobs.begin(), jobs.end(),
                           [](const Job& job) { return job.got.finish == Finish::none; });
    };
    while (n_open() > 0) {
      if (n_submitted < jobs.size() && wishes.one_in(n_submitted < 2 ? 1 : 6)) {
        Job& job = jobs[n_submitted++];
        job.request = submit(scheduler, tokenizer(), job.wish);
      }
      take_some(scheduler, jobs, wishes);
      if (HasFatalFailure()) return;
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      Job& job = jobs[i];
      job.got.logits = seen.take(&job.request->sequence());
      if (job.is_cancelled && job.got.finish == Finish::error) {
        EXPECT_EQ(scheduler.failure(*job.request)->status(), Status::cancelled);
        ASSERT_TRUE(is_beginning(job.got, job.expected)) << "seed " << seed << " request " << i;
        continue;
      }
      n_forced += std::count(job.got.forced.begin(), job.got.forced.end(), true);
      ASSERT_EQ(job.got.tokens, job.expected.tokens) << "seed " << seed << " request " << i;
      ASSERT_TRUE(job.got == job.expected) << "seed " << seed << " request " << i;
    }
    const BatchSchedulerUsage usage = scheduler.usage();
    EXPECT_EQ(usage.n_ended, std::ssize(jobs));
    EXPECT_EQ(usage.kv_promised_bytes, 0U);
    EXPECT_LE(usage.prefix_cache_bytes, usage.kv_budget_bytes);
    all.n_prompt_reused += usage.counts.n_prompt_reused;
    all.n_guessed += usage.counts.n_guessed;
    all.n_guessed_right += usage.counts.n_guessed_right;
    n_evicted += usage.n_prefix_evictions;
  }
  // What was to be tried has come about.
  EXPECT_GT(all.n_prompt_reused, 0);
  EXPECT_GT(all.n_guessed_right, 0);
  EXPECT_GT(all.n_guessed, all.n_guessed_right);
  EXPECT_GT(n_evicted, 0);
  EXPECT_EQ(n_forced > 0, GetParam().has_tokenizer);
}

}  // namespace
}  // namespace nanochat::testing
