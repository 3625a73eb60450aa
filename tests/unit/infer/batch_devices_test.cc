// Requests that share pages, guess and slide give the same bits among others as alone, on every kind of
// device.
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/batch_run.h"

namespace nanochat::testing {
namespace {

class BatchOn : public DeviceTest {
 protected:
  // Of different lengths and wishes; the second and third begin alike, the fourth repeats itself.
  static std::vector<Wish> wishes(const Model& model) {
    std::vector<Wish> all(5);
    for (Wish& wish : all) {
      wish.capacity = 120;
      wish.options.max_tokens = 8;
    }
    all[0].prompt = some_tokens(model, 5, 1);
    all[1].prompt = some_tokens(model, 70, 2);
    all[2].prompt = some_tokens(model, 66, 2);
    all[2].options.sampler = {.temperature = 0.8F, .top_k = 5, .seed = 7};
    for (size_t i = 0; i < 30; ++i) all[3].prompt.push_back(static_cast<int32_t>(i % 3));
    all[4].prompt = some_tokens(model, 40, 3);
    all[4].capacity = 44;  // slides
    all[4].options.overflow = Overflow::slide;
    all[4].options.n_keep = 1;
    return all;
  }

  enum class Logits { seen, unseen };  // on a GPU, unseen ones stay there mostly

  void expect_the_same_among_others(const std::string& path, WeightDtype weights, DType kv,
                                    Logits logits = Logits::seen) {
    const auto model = Model::load(device_, path, {.weight_dtype = weights}, {});
    BatchSchedulerOptions options;
    options.engine.kv_dtype = kv;
    options.engine.prefill_rows = 48;
    options.engine.draft_tokens = 3;
    SeenLogits seen;
    if (logits == Logits::seen) options.engine.on_logits = seen.watcher();
    BatchScheduler scheduler(model, options);
    std::vector<Wish> all = wishes(*model);
    if (logits == Logits::unseen) {
      all[0].options.sampler = {.temperature = 1.0F, .seed = 3};  // needs all of them
      all[1].options.sampler = {.temperature = 0.7F, .top_p = 0.8F, .seed = 4};
      all[2].options.sampler.top_logprobs = 2;
    }
    std::vector<std::shared_ptr<BatchRequest>> requests;
    for (const Wish& wish : all) requests.push_back(submit(scheduler, nullptr, wish));
    for (size_t i = 0; i < all.size(); ++i) {
      Outcome got = run_to_end(scheduler, *requests[i]);
      got.logits = seen.take(&requests[i]->sequence());
      Outcome expected = alone(model, nullptr, all[i], kv);
      if (logits == Logits::unseen) expected.logits.clear();
      EXPECT_TRUE(got == expected) << "request " << i;
    }
    n_guessed_ += scheduler.usage().counts.n_guessed;
    n_prompt_reused_ += scheduler.usage().counts.n_prompt_reused;
  }

  int64_t n_guessed_ = 0, n_prompt_reused_ = 0;
};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(BatchOn);

TEST_P(BatchOn, GivesWhatEachGivesAlone) {
  expect_the_same_among_others(kStories, WeightDtype::f32, DType::f32);
  expect_the_same_among_others(kStories, WeightDtype::i8, DType::i8, Logits::unseen);
  expect_the_same_among_others(kSmearing, WeightDtype::bf16, DType::bf16);
  EXPECT_GT(n_guessed_, 0);
  EXPECT_GT(n_prompt_reused_, 0);
}

}  // namespace
}  // namespace nanochat::testing
