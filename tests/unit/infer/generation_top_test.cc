// A generation for which few logits come from the device is the one for which all do.
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/batch_run.h"

namespace nanochat::testing {
namespace {

// A session of which nobody gets the best logits alone.
class FullLogits final : public LogitSource {
 public:
  explicit FullLogits(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  const ModelConfig& config() const override { return session_->config(); }
  Device* device() const override { return session_->device(); }
  int64_t capacity() const override { return session_->capacity(); }
  const std::vector<int32_t>& tokens() const override { return session_->tokens(); }
  std::span<const float> last_logits() const override { return session_->last_logits(); }
  uint64_t revision() const override { return session_->revision(); }
  void append(std::span<const int32_t> tokens, LogitRows which, float* logits, const Watch& watch) override {
    session_->append(tokens, which, logits, watch);
  }
  void truncate(int64_t length) override { session_->truncate(length); }
  void restore_logits(const Watch& watch) override { session_->restore_logits(watch); }

 private:
  std::shared_ptr<Session> session_;
};

class GenerationFromTop : public DeviceTest {
 protected:
  void prepare() override { model_ = Model::load(device_, kStories, {}, {}); }

  std::vector<SamplerOptions> mixes() const {
    return {{.top_logprobs = 3},
            {.temperature = 0.9F, .top_k = 40, .seed = 3},
            {.temperature = 1.1F, .top_k = 300, .min_p = 0.05F, .seed = 4},
            {.temperature = 0.7F, .top_p = 0.9F, .seed = 5, .top_logprobs = 2},
            {.temperature = 4.0F, .top_p = 0.99F, .seed = 6},  // needs all logits
            {.temperature = 1.0F, .seed = 7},
            {.temperature = 1.0F, .top_k = 20, .repetition_penalty = 1.2F, .seed = 8}};
  }

  std::vector<GenerationEvent> events_of(std::shared_ptr<LogitSource> source, const SamplerOptions& sampler) {
    GenerationLoop loop(std::move(source), nullptr, some_tokens(*model_, 9),
                        {.sampler = sampler, .max_tokens = size(40, 8), .end_tokens = EndTokens::ignore});
    std::vector<GenerationEvent> events;
    while (events.empty() || events.back().finish == Finish::none) events.push_back(loop.next({}));
    return events;
  }

  std::shared_ptr<const Model> model_;
};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(GenerationFromTop);

TEST_P(GenerationFromTop, IsTheOneFromAllLogits) {
  for (const SamplerOptions& options : mixes()) {
    const auto few = events_of(std::make_shared<Session>(model_, 0), options);
    const auto all = events_of(std::make_shared<FullLogits>(std::make_shared<Session>(model_, 0)), options);
    ASSERT_EQ(few.size(), all.size());
    for (size_t i = 0; i < few.size(); ++i) {
      EXPECT_EQ(few[i].token, all[i].token) << "seed " << options.seed << ", token " << i;
      EXPECT_NEAR(few[i].logprob, all[i].logprob, 1e-4F);
      ASSERT_EQ(few[i].top.size(), all[i].top.size());
      for (size_t k = 0; k < few[i].top.size(); ++k) EXPECT_EQ(few[i].top[k].first, all[i].top[k].first);
    }
  }
}

TEST_P(GenerationFromTop, LeavesASessionWhoseLogitsCanBeHad) {
  const auto session = std::make_shared<Session>(model_, 0);
  events_of(session, {});
  EXPECT_EQ(session->last_logits().empty(), !device().is_host());
  EXPECT_EQ(session->last_top() != nullptr, !device().is_host());
  const auto twin = session->copy();
  twin->restore_logits({});
  session->restore_logits({});
  EXPECT_EQ(logits_of(*session), fresh_logits(model_, session->tokens()));
  EXPECT_EQ(logits_of(*twin), logits_of(*session));
}

// Its last token's logits are known by their best, summed for another temperature.
TEST_P(GenerationFromTop, GoesOnWithOtherOptions) {
  const auto next_of = [&](const std::shared_ptr<Session>& session, const SamplerOptions& options) {
    return GenerationLoop(session, nullptr, {}, {.sampler = options, .max_tokens = 1}).next({}).token;
  };
  for (const SamplerOptions& options : mixes()) {
    const auto session = std::make_shared<Session>(model_, 0);
    events_of(session, {.temperature = 0.2F, .top_p = 0.5F, .seed = 1});
    const auto fresh = std::make_shared<Session>(model_, 0);
    append(*fresh, session->tokens());
    EXPECT_EQ(next_of(session, options), next_of(fresh, options)) << options.seed;
  }
}

TEST_P(GenerationFromTop, ForwardGivesTheBestOfEachWantedRow) {
  KvCache cache(model_, 200, {}), same(model_, 200, {});
  const std::vector<int32_t> tokens = some_tokens(*model_, 100);  // more rows than one piece of logits
  const auto vocab = static_cast<size_t>(model_->config().vocab_size);
  std::vector<float> all(tokens.size() * vocab), some(all.size(), -1e9F);
  const SequenceInput input{&cache, tokens, LogitRows::all};
  forward(*model_, {&input, 1}, all.data(), {});
  const std::vector<float> scales(tokens.size(), 2.0F);
  std::vector<TopLogits> top(tokens.size());
  const auto is_needed = [](int64_t row) { return row % 7 == 0 || row % 7 == 1; };
  const SequenceInput again{&same, tokens, LogitRows::all};
  forward_top(*model_, {&again, 1}, {scales, top, some.data(), is_needed}, {});
  for (size_t row = 0; row < tokens.size(); ++row) {
    const std::span<const float> logits = std::span(all).subspan(row * vocab, vocab);
    const auto best = std::max_element(logits.begin(), logits.end());
    EXPECT_EQ(top[row].tokens[0], best - logits.begin());
    EXPECT_EQ(top[row].logits[0], *best);
    EXPECT_EQ(top[row].n, TopLogits::kMost);
    const bool is_filled = device().is_host() || is_needed(static_cast<int64_t>(row));
    EXPECT_EQ(std::equal(logits.begin(), logits.end(), some.begin() + static_cast<int64_t>(row * vocab)),
              is_filled)
        << row;
  }
}

}  // namespace
}  // namespace nanochat::testing
