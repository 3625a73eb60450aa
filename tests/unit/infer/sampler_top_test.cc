// Sampling from the best logits of a row gives what sampling from all of them gives, or says that it cannot.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "device_under_test.h"
#include "infer/sampler.h"

// Options are named; those that are not keep their defaults.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace nanochat::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SamplerOfTop : public ::testing::Test {
 protected:
  TopLogits top_of(const std::vector<float>& logits, float scale) {
    TopLogits top;
    device_->kernels().select_top(*device_, logits.data(), std::ssize(logits), {&scale, 1}, {&top, 1});
    return top;
  }
  TopLogits top_for(const Sampler& sampler, const std::vector<float>& logits) {
    return top_of(logits, sampler.top_scale());
  }
  bool can_sample(const SamplerOptions& options, const std::vector<float>& logits) {
    const Sampler sampler(options);
    return sampler.can_sample(top_for(sampler, logits));
  }

  uint64_t below(uint64_t n) { return random_() % n; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  float uniform() { return static_cast<float>(random_() >> 40) * 0x1p-24F; }

  std::vector<float> logits() {
    constexpr size_t kSizes[] = {1, 2, 200, 256, 257, 300, 700, 1500};
    constexpr float kDeviations[] = {0.05F, 0.7F, 3.0F, 12.0F};
    std::normal_distribution<float> normal(0, kDeviations[below(4)]);
    std::vector<float> values(kSizes[below(8)]);
    for (float& value : values) value = normal(random_);
    if (one_in(3)) {  // ties
      for (float& value : values) value = std::round(value);
    }
    if (one_in(6)) {
      for (float& value : values) value = one_in(4) ? value : -kInfinity;
      values[below(values.size())] = 1.0F;
    }
    if (one_in(20)) values[below(values.size())] = one_in(2) ? NAN : kInfinity;
    return values;
  }

  SamplerOptions options() {
    constexpr float kTemperatures[] = {0.0F, 1.0F, 0.8F, 0.1F, 3.0F, 1e-8F};
    constexpr int32_t kCounts[] = {1, 5, 50, 255, 256, 257, 400, 5000};
    SamplerOptions options;
    options.temperature = kTemperatures[below(6)];
    if (one_in(2)) options.top_k = kCounts[below(8)];
    if (one_in(2)) options.top_p = one_in(4) ? 0.999F : std::max(uniform(), 1e-6F);
    if (one_in(3)) options.min_p = one_in(3) ? 1.0F : uniform() * uniform();
    if (one_in(8)) options.logit_bias = {{0, 2.0F}};
    if (one_in(8)) options.repetition_penalty = 1.3F;
    if (one_in(8)) options.frequency_penalty = 0.1F;
    if (one_in(2)) options.top_logprobs = one_in(10) ? 256 : static_cast<int32_t>(below(21));
    options.seed = random_();
    return options;
  }

  std::mt19937_64 random_{11};
  std::shared_ptr<Device> device_ = make_device("reference");
};

TEST_F(SamplerOfTop, GivesTheTokenOfAllLogits) {
  int64_t n_done = 0, n_truncated = 0, n_left = 0;
  const std::vector<int32_t> history{0};
  for (int64_t i = 0; i < 30000; ++i) {
    const std::vector<float> row = logits();
    const Sampler sampler(options());
    TopLogits top = top_for(sampler, row);
    // Another device's sums.
    top.scaled_sum *= 1.0 + (static_cast<double>(uniform()) - 0.5) * 2e-4;
    if (!sampler.can_sample(top)) {
      ++n_left;
      continue;
    }
    const SampledToken few = sampler.sample(top, static_cast<uint64_t>(i));
    const SampledToken all = sampler.sample(row, history, static_cast<uint64_t>(i));
    ASSERT_EQ(few.token, all.token) << i;
    EXPECT_NEAR(few.logprob, all.logprob, 2e-4F);
    ASSERT_EQ(few.top.size(), all.top.size());
    for (size_t k = 0; k < few.top.size(); ++k) {
      EXPECT_EQ(few.top[k].first, all.top[k].first);
      EXPECT_NEAR(few.top[k].second, all.top[k].second, 2e-4F);
    }
    ++n_done;
    if (few.token != top.tokens[0]) ++n_truncated;
  }
  EXPECT_GT(n_done, 5000);
  EXPECT_GT(n_truncated, 1000);
  EXPECT_GT(n_left, 5000);
}

TEST_F(SamplerOfTop, IsEnoughForTheUsualOptions) {
  std::normal_distribution<float> normal(0, 4);
  for (int i = 0; i < 100; ++i) {
    std::vector<float> row(20000);
    for (float& value : row) value = normal(random_);
    EXPECT_TRUE(can_sample({}, row));
    EXPECT_TRUE(can_sample({.top_logprobs = 20}, row));
    EXPECT_TRUE(can_sample({.temperature = 1.0F, .top_k = 50}, row));
    EXPECT_TRUE(can_sample({.temperature = 0.8F, .top_k = 256, .top_p = 0.9F, .min_p = 0.01F}, row));
    EXPECT_TRUE(can_sample({.temperature = 1.0F, .min_p = 0.1F}, row));
  }
}

TEST_F(SamplerOfTop, ProvesThatTopPEndsAmongThem) {
  std::vector<float> row(5000, -20.0F);
  for (size_t i = 0; i < 40; ++i) row[i * 100] = static_cast<float>(i % 9);
  EXPECT_TRUE(can_sample({.temperature = 1.0F, .top_p = 0.95F}, row));
  EXPECT_TRUE(can_sample({.temperature = 0.5F, .top_p = 0.5F}, row));
  const std::vector<float> flat(5000, 1.0F);
  EXPECT_FALSE(can_sample({.temperature = 1.0F, .top_p = 0.95F}, flat));
  EXPECT_TRUE(can_sample({.temperature = 1.0F, .top_p = 0.0101F}, flat));
  // 10 of 1000 are 0.01 of the whole, as near as sums are known.
  EXPECT_FALSE(can_sample({.temperature = 1.0F, .top_p = 0.01F}, std::vector<float>(1000, 1.0F)));
}

TEST_F(SamplerOfTop, IsNotEnoughForWhatCanTakeAnyToken) {
  const std::vector<float> row = {1.0F, 5.0F, 3.0F};
  EXPECT_FALSE(can_sample({.temperature = 1.0F}, row));
  EXPECT_FALSE(can_sample({.temperature = 1.0F, .top_k = 3}, row));
  EXPECT_FALSE(can_sample({.repetition_penalty = 1.1F}, row));
  EXPECT_FALSE(can_sample({.presence_penalty = 0.1F}, row));
  EXPECT_FALSE(can_sample({.logit_bias = {{1, -kInfinity}}}, row));
  EXPECT_FALSE(can_sample({.top_logprobs = 257}, row));
  EXPECT_FALSE(can_sample({}, {1.0F, NAN}));  // sample() says what is wrong with them
  EXPECT_FALSE(can_sample({}, {-kInfinity}));
}

TEST_F(SamplerOfTop, DoesNotTakeSumsOfAnotherTemperature) {
  std::vector<float> row(5000, -20.0F);
  row[7] = 3.0F;
  const Sampler sampler({.temperature = 0.5F, .top_p = 0.9F});
  EXPECT_TRUE(sampler.can_sample(top_of(row, 2.0F)));
  EXPECT_FALSE(sampler.can_sample(top_of(row, 1.0F)));
}

}  // namespace
}  // namespace nanochat::testing
