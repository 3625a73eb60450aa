// Generation with a trained model: stories260K, whose golden text another program made.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "infer/generation.h"
#include "unit/infer/small_models.h"

// Options are named; those that are not keep their defaults.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace nanochat::testing {
namespace {

using json = nlohmann::ordered_json;

struct Story {
  std::vector<int32_t> tokens;
  std::string text;
  Finish finish = Finish::none;
};

Story tell(Generation& generation, size_t limit = 5000) {
  Story story;
  while (story.finish == Finish::none && story.tokens.size() < limit) {
    const GenerationEvent event = generation.next({});
    story.tokens.push_back(event.token);
    story.text += event.text;
    story.finish = event.finish;
  }
  return story;
}

class StoryOn : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Host> host_;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_ = load_tokenizer(kStories + "/tokenizer.json");
  json golden_ = json::parse(read_file(kStories + "/golden.json"));

  void SetUp() override {
    NANOCHAT_SKIP_WITHOUT_A_GPU(GetParam());
    host_ = std::make_unique<Host>(GetParam());
    model_ = host_->load(kStories);
  }

  std::shared_ptr<Session> session(int64_t capacity = 0) const {
    return std::make_shared<Session>(model_, capacity);
  }
  Generation start(const GenerationOptions& options, std::vector<int32_t> prompt = {}) const {
    return {session(), tokenizer_, std::move(prompt), options};
  }
  Story story(const GenerationOptions& options, std::vector<int32_t> prompt = {}) const {
    Generation generation = start(options, std::move(prompt));
    return tell(generation);
  }
};

NANOCHAT_ON_EVERY_DEVICE(StoryOn);
// What takes hundreds of passes, or needs allocations of the host.
class LongStoryOn : public StoryOn {};
NANOCHAT_ON_EVERY_ISA(LongStoryOn);
NANOCHAT_ON_A_GPU(LongStoryOn);
class StoryInHostMemory : public StoryOn {};
NANOCHAT_ON_EVERY_ISA(StoryInHostMemory);

TEST_P(StoryOn, IsTheGoldenOneWhenGreedy) {
  const auto ids = golden_.at("greedy_ids").get<std::vector<int32_t>>();
  const Story told = story({.max_tokens = static_cast<int64_t>(ids.size())});
  EXPECT_EQ(told.tokens, ids);
  EXPECT_EQ(told.text,
            golden_.at("text").get<std::string>().substr(1));  // the decoder drops the leading space
  EXPECT_EQ(told.text, tokenizer_->decode(ids, true));
  EXPECT_EQ(told.finish, Finish::length);
}

TEST_P(StoryOn, GoesOnFromAnyPartOfItself) {
  const auto ids = golden_.at("greedy_ids").get<std::vector<int32_t>>();
  for (const size_t n : {1U, 5U, 60U}) {
    std::vector<int32_t> prompt{1};
    prompt.insert(prompt.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n));
    const Story told = story({.max_tokens = 20}, prompt);
    EXPECT_EQ(told.tokens, std::vector<int32_t>(ids.begin() + static_cast<ptrdiff_t>(n),
                                                ids.begin() + static_cast<ptrdiff_t>(n + 20)));
    std::vector<int32_t> whole = prompt;
    whole.insert(whole.end(), told.tokens.begin(), told.tokens.end());
    EXPECT_EQ(tokenizer_->decode(prompt, true) + told.text, tokenizer_->decode(whole, true));
  }
}

TEST_P(StoryOn, DependsOnSeedAndStreamAlone) {
  const auto drawn = [&](uint64_t seed, uint64_t stream) {
    return story({.sampler = {.temperature = 1.0F, .top_p = 0.95F, .seed = seed, .stream = stream},
                  .max_tokens = size(GetParam(), 60, 20)})
        .text;
  };
  EXPECT_EQ(drawn(1, 0), drawn(1, 0));
  EXPECT_NE(drawn(1, 0), drawn(1, 1));
  EXPECT_NE(drawn(1, 0), drawn(2, 0));
}

TEST_P(LongStoryOn, RunsOnPastTheModelsLength) {
  GenerationOptions options{.max_tokens = 1200, .overflow = Overflow::slide};
  options.end_tokens = EndTokens::ignore;
  Generation generation = start(options);
  const Story told = tell(generation);
  EXPECT_EQ(told.tokens.size(), 1200U);
  EXPECT_EQ(told.finish, Finish::length);
}

TEST_P(LongStoryOn, EndsWhenTheSessionIsFull) {
  GenerationOptions options;
  options.end_tokens = EndTokens::ignore;
  const Story told = story(options);
  EXPECT_EQ(told.finish, Finish::context);
  EXPECT_EQ(told.tokens.size(), 512U);
}

TEST_P(StoryOn, EndsAtAStopString) {
  const std::string text = golden_.at("text").get<std::string>().substr(1);
  const Story told = story({.stop_strings = {"little girl", "named Li"}});
  EXPECT_EQ(told.finish, Finish::string);
  EXPECT_EQ(told.text, text.substr(0, text.find("little girl")));
}

TEST_P(StoryOn, GoesOnInACopyOfItsSession) {
  const auto first = session();
  Generation begun(first, tokenizer_, {}, {.max_tokens = 30});
  const Story beginning = tell(begun);
  const auto again = std::shared_ptr<Session>(first->copy());
  Generation going_on(again, tokenizer_, {beginning.tokens.back()}, {.max_tokens = 30});
  EXPECT_EQ(beginning.text + tell(going_on).text, story({.max_tokens = 60}).text);
}

TEST_P(StoryInHostMemory, GoesOnAfterCancelsInPromptAndText) {
  const Story expected = story({.max_tokens = 30}, some_tokens(*model_, 200));
  Generation generation = start({.max_tokens = 30}, some_tokens(*model_, 200));
  CancelToken cancel;
  const Watch watch{.cancel = &cancel, .on_progress = {}};
  std::string text;
  for (size_t i = 0; i < expected.tokens.size(); ++i) {
    host_->device->memory().reclaim();
    host_->raw->ask([&] { return cancel.request(), true; });  // the pass has begun
    EXPECT_EQ(status_of([&] { generation.next(watch); }), Status::cancelled);
    host_->raw->ask({});
    cancel.reset();
    const GenerationEvent event = generation.next(watch);
    EXPECT_EQ(event.token, expected.tokens[i]);
    text += event.text;
  }
  EXPECT_EQ(text, expected.text);
}

TEST_P(StoryInHostMemory, GoesOnAfterAllocationsThatFail) {
  const Story expected = story({.max_tokens = 10}, some_tokens(*model_, 50));
  int n_failed = 0;
  for (int n = 0; n < 4; ++n) {
    Generation generation = start({.max_tokens = 10}, some_tokens(*model_, 50));
    std::string text;
    for (size_t i = 0; i < expected.tokens.size(); ++i) {
      host_->device->memory().reclaim();
      int count = 0;
      host_->raw->ask([&] { return count++ < n; });
      GenerationEvent event;
      const Status status = status_of([&] { event = generation.next({}); });
      host_->raw->ask({});
      if (status != Status::ok) event = generation.next({});
      n_failed += status != Status::ok ? 1 : 0;
      text += event.text;
    }
    EXPECT_EQ(text, expected.text) << "allocation " << n;
  }
  EXPECT_GE(n_failed, 10);
}

}  // namespace
}  // namespace nanochat::testing
