#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "unit/infer/small_models.h"

// Options are named; those that are not keep their defaults.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t n, uint64_t seed, float deviation = 3) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::vector<double> softmax(std::span<const float> logits, double temperature = 1) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> result;
  for (const float logit : logits)
    result.push_back(std::exp((static_cast<double>(logit) - largest) / temperature));
  const double total = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& value : result) value /= total;
  return result;
}

template <class F>
std::string message_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.message();
  }
  return "(no error)";
}

TEST(Sampler, DrawsFromTheDistributionOfTheReference) {
  for (const char* version : {"v0", "v1"}) {
    const std::string path =
        std::string(NANOCHAT_TEST_DATA) + "/golden/sampling/sample_probs_" + version + ".json";
    const json golden = json::parse(read_file(path));
    size_t n_compared = 0;
    for (const json& item : golden["cases"]) {
      if (item.contains("error")) continue;  // V0 has no top_k of 0
      SamplerOptions options;
      options.temperature = item["temperature"];
      options.top_k = item["top_k"].is_null() ? 0 : item["top_k"].get<int32_t>();
      const Sampler sampler(options);
      for (size_t row = 0; row < golden["logits"].size(); ++row) {
        const auto logits = golden["logits"][row].get<std::vector<float>>();
        const std::vector<double> actual = sampler.distribution(logits, {});
        if (item.contains("argmax")) {
          EXPECT_EQ(sampler.sample(logits, {}, 0).token, item["argmax"][row].get<int32_t>()) << item.dump();
          continue;
        }
        const auto expected = item["probs"][row].get<std::vector<double>>();
        ASSERT_EQ(actual.size(), expected.size());
        for (size_t i = 0; i < actual.size(); ++i)
          ASSERT_NEAR(actual[i], expected[i], 1e-6) << version << " " << i;
        ++n_compared;
      }
    }
    EXPECT_GE(n_compared, 40u);
  }
}

TEST(Sampler, TakesTheLowestIdOfEqualLogitsWhenGreedy) {
  const Sampler sampler(SamplerOptions{});
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 4, 2, 4}, {}, 0).token, 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, -7, -7}, {}, 0).token, 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-3}, {}, 5).token, 0);
  for (const size_t n : {255u, 256u, 257u, 5000u}) {
    const std::vector<float> logits = random_logits(n, n);
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(sampler.sample(logits, {}, 0).token, best);
  }
}

TEST(Sampler, NamesTheLogitThatIsNotANumber) {
  for (const float temperature : {0.0f, 1.0f}) {
    SamplerOptions options;
    options.temperature = temperature;
    const Sampler sampler(options);
    std::vector<float> logits = random_logits(1000, 1);
    logits[737] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(message_of([&] { sampler.sample(logits, {}, 0); }),
              "logit 737 is NaN, expected a finite number or -infinity");
    logits[737] = kInfinity;
    EXPECT_EQ(message_of([&] { sampler.sample(logits, {}, 0); }),
              "logit 737 is +infinity, expected a finite number or -infinity");
    EXPECT_EQ(message_of([&] { sampler.sample(std::vector<float>(3, -kInfinity), {}, 0); }),
              "all 3 logits are -infinity, expected at least one token to choose");
    EXPECT_EQ(message_of([&] { sampler.sample({}, {}, 0); }), "there are 0 logits, expected 1 or more");
  }
}

TEST(Sampler, RefusesOptionsOutOfRangeByName) {
  const auto refusal = [](void (*change)(SamplerOptions&)) {
    SamplerOptions options;
    change(options);
    return message_of([&] { Sampler{options}; });
  };
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.temperature = -0.5f; }).substr(0, 28),
            "temperature is -0.5, expecte");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.temperature = kInfinity; }).substr(0, 18),
            "temperature is inf");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.temperature = std::nanf(""); }).substr(0, 18),
            "temperature is nan");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.top_k = -1; }), "top_k is -1, expected 0 or more");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.top_p = 0; }).substr(0, 10), "top_p is 0");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.top_p = 1.5f; }).substr(0, 12), "top_p is 1.5");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.min_p = 2; }), "min_p is 2, expected 0 to 1");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.repetition_penalty = 0; }).substr(0, 23),
            "repetition_penalty is 0");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.presence_penalty = std::nanf(""); }).substr(0, 23),
            "presence_penalty is nan");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.frequency_penalty = kInfinity; }).substr(0, 24),
            "frequency_penalty is inf");
  EXPECT_EQ(refusal([](SamplerOptions& o) { o.top_logprobs = -2; }),
            "top_logprobs is -2, expected -1 or more");
  EXPECT_EQ(refusal([](SamplerOptions& o) {
              o.logit_bias = {{-1, 2.0f}};
            }).substr(0, 31),
            "logit_bias of token -1 is 2, ex");
}

TEST(Sampler, RefusesTokensThatTheVocabularyLacks) {
  SamplerOptions options;
  options.presence_penalty = 1;
  options.logit_bias = {{3, 1.0f}};
  const std::vector<int32_t> history = {0, 9};
  EXPECT_EQ(message_of([&] { Sampler(options).sample(std::vector<float>(3, 0), {}, 0); }),
            "logit_bias: token 3, but there are 3 logits");
  EXPECT_EQ(message_of([&] { Sampler(options).sample(std::vector<float>(4, 0), history, 0); }),
            "history: token 9, but there are 4 logits");
}

TEST(Sampler, KeepsTheLowestIdsAtATiedBorder) {
  const std::vector<float> logits = {1, 2, 2, 5, 2};
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 3;
  const std::vector<double> by_count = Sampler(options).distribution(logits, {});
  EXPECT_GT(by_count[1], 0);
  EXPECT_GT(by_count[2], 0);
  EXPECT_EQ(by_count[4], 0);
  const std::vector<float> equal(4, 0.0f);  // 0.25 each
  options.top_k = 0;
  options.top_p = 0.5f;
  EXPECT_EQ(Sampler(options).distribution(equal, {}), (std::vector<double>{0.5, 0.5, 0, 0}));
}

// The definition, on a full sort.
std::vector<double> oracle_distribution(const SamplerOptions& options, std::vector<float> logits) {
  const std::vector<double> all = softmax(logits, options.temperature);
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (options.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(options.top_k)));
  double total = 0;
  for (const size_t i : order) total += all[i];
  std::vector<double> result(logits.size(), 0.0);
  double share = 0, kept = 0;
  for (const size_t i : order) {
    const bool is_first = i == order.front();
    if (!is_first && options.top_p < 1 && share >= options.top_p * total) break;
    if (!is_first && all[i] < options.min_p * all[order.front()]) break;
    share += all[i];
    result[i] = all[i];
    kept += all[i];
  }
  for (double& value : result) value /= kept;
  return result;
}

TEST(Sampler, TruncatesAsTheDefinitionSays) {
  for (const int32_t top_k : {0, 1, 7, 100, 5000}) {
    for (const float top_p : {1e-6f, 0.3f, 0.9f, 0.999f, 1.0f}) {
      for (const float min_p : {0.0f, 0.05f, 1.0f}) {
        for (const float temperature : {0.5f, 1.0f, 4.0f}) {
          SamplerOptions options;
          options.temperature = temperature;
          options.top_k = top_k;
          options.top_p = top_p;
          options.min_p = min_p;
          const std::vector<float> logits = random_logits(1200, 5);
          const std::vector<double> actual = Sampler(options).distribution(logits, {});
          const std::vector<double> expected = oracle_distribution(options, logits);
          for (size_t i = 0; i < logits.size(); ++i) {
            ASSERT_NEAR(actual[i], expected[i], 1e-13) << top_k << " " << top_p << " " << min_p << " " << i;
          }
        }
      }
    }
  }
}

TEST(Sampler, AlwaysLeavesOneToken) {
  const std::vector<float> logits = random_logits(300, 2);
  const int32_t best = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  SamplerOptions tiny_share, tiny_temperature, only_best;
  tiny_share.temperature = tiny_temperature.temperature = only_best.temperature = 1;
  tiny_share.top_p = std::numeric_limits<float>::denorm_min();
  tiny_temperature.temperature = std::numeric_limits<float>::denorm_min();
  only_best.min_p = 1;
  for (const SamplerOptions& options : {tiny_share, tiny_temperature, only_best}) {
    for (uint64_t position = 0; position < 50; ++position) {
      EXPECT_EQ(Sampler(options).sample(logits, {}, position).token, best);
    }
  }
  EXPECT_EQ(Sampler(tiny_temperature).sample(std::vector<float>{2.5f}, {}, 1).token, 0);
}

TEST(Sampler, PenalisesWhatTheHistoryHolds) {
  SamplerOptions options;
  options.temperature = 1;
  options.repetition_penalty = 2;
  options.presence_penalty = 0.25f;
  options.frequency_penalty = 0.5f;
  options.logit_bias = {{0, 1.0f}, {4, -kInfinity}};
  const std::vector<float> logits = {1, 3, -2, 0.5f, 9};
  const std::vector<int32_t> history = {1, 2, 1, 0, 1};
  // bias first, then repetition, then presence + frequency * count
  const std::vector<float> expected = {2.0f / 2 - 0.75f, 3.0f / 2 - 1.75f, -4.0f - 0.75f, 0.5f, -kInfinity};
  const std::vector<double> actual = Sampler(options).distribution(logits, history);
  const std::vector<double> oracle = softmax(expected);
  for (size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(actual[i], oracle[i], 1e-12) << i;
  options.temperature = 0;
  EXPECT_EQ(Sampler(options).sample(logits, history, 0).token, 3);
}

TEST(Sampler, ReportsLogProbabilitiesBeforeTemperatureAndTruncation) {
  SamplerOptions options;
  options.temperature = 0.3f;
  options.top_k = 2;
  options.top_logprobs = 4;
  options.logit_bias = {{2, 1.5f}, {5, -kInfinity}};
  std::vector<float> logits = {0.5f, 3, 2, 3, -1, 8};
  const SampledToken sampled = Sampler(options).sample(logits, {}, 3);
  logits[2] = 3.5f;
  logits[5] = -kInfinity;
  const std::vector<double> oracle = softmax(logits);
  EXPECT_NEAR(sampled.logprob, std::log(oracle[static_cast<size_t>(sampled.token)]), 1e-6);
  ASSERT_EQ(sampled.top.size(), 4u);
  const std::vector<int32_t> order = {2, 1, 3, 0};
  for (size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(sampled.top[i].first, order[i]);
    EXPECT_NEAR(sampled.top[i].second, std::log(oracle[static_cast<size_t>(order[i])]), 1e-6);
  }
  options.top_logprobs = 100;  // -infinity has no place in the list
  EXPECT_EQ(Sampler(options).sample(logits, {}, 3).top.size(), 5u);
}

TEST(Sampler, DependsOnSeedStreamAndPositionAlone) {
  const std::vector<float> logits = random_logits(1000, 3, 1);
  SamplerOptions options;
  options.temperature = 1;
  options.seed = 42;
  const auto draws = [&](const SamplerOptions& chosen) {
    std::vector<int32_t> tokens;
    for (uint64_t position = 0; position < 20; ++position) {
      tokens.push_back(Sampler(chosen).sample(logits, {}, position).token);
    }
    return tokens;
  };
  const std::vector<int32_t> first = draws(options);
  EXPECT_EQ(draws(options), first);
  const Sampler sampler(options);
  for (uint64_t position = 20; position-- > 0;) {
    EXPECT_EQ(sampler.sample(logits, {}, position).token, first[position]);
  }
  SamplerOptions other = options;
  other.stream = 1;
  EXPECT_NE(draws(other), first);
  other = options;
  other.seed = 43;
  EXPECT_NE(draws(other), first);
}

// Pearson's statistic over tokens of at least 5 expected draws; the rest are one class.
double chi_squared(const std::vector<double>& expected, const std::vector<int64_t>& counts, double n,
                   int& freedom) {
  double statistic = 0, rest_expected = 0, rest_count = 0;
  freedom = -1;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double mean = expected[i] * n, count = static_cast<double>(counts[i]);
    if (mean < 5) {
      rest_expected += mean;
      rest_count += count;
      continue;
    }
    statistic += (count - mean) * (count - mean) / mean;
    ++freedom;
  }
  if (rest_expected > 0) {
    statistic += (rest_count - rest_expected) * (rest_count - rest_expected) / rest_expected;
    ++freedom;
  }
  return statistic;
}

TEST(Sampler, DrawsAsOftenAsTheDistributionSays) {
  const std::vector<float> logits = random_logits(150, 4, 2);
  SamplerOptions plain, count, share;
  plain.temperature = count.temperature = share.temperature = 1.3f;
  count.top_k = 50;
  share.top_p = 0.9f;
  share.min_p = 0.01f;
  constexpr int64_t kDraws = 100000;
  for (const SamplerOptions& options : {plain, count, share}) {
    const Sampler sampler(options);
    const std::vector<double> expected = oracle_distribution(options, logits);
    std::vector<int64_t> counts(logits.size(), 0);
    for (int64_t i = 0; i < kDraws; ++i) {
      const int32_t token = sampler.sample(logits, {}, static_cast<uint64_t>(i)).token;
      ASSERT_GT(expected[static_cast<size_t>(token)], 0);
      ++counts[static_cast<size_t>(token)];
    }
    int freedom = 0;
    const double statistic = chi_squared(expected, counts, kDraws, freedom);
    // Wilson and Hilferty's bound at 3.7 deviations: one seed in ten thousand would fail.
    const double spread = 2.0 / (9.0 * freedom);
    const double bound = freedom * std::pow(1 - spread + 3.7 * std::sqrt(spread), 3);
    EXPECT_LT(statistic, bound) << freedom << " degrees of freedom";
  }
}

class SamplerOn : public testing::DeviceTest {};
NANOCHAT_ON_EVERY_DEVICE(SamplerOn);

TEST_P(SamplerOn, DrawsTheSameAsWithoutADeviceAndSumsNearlyTheSame) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> logits = random_logits(3000 + 7 * seed, seed, 8);
    for (const float temperature : {0.0F, 0.9F}) {
      const SamplerOptions options{.temperature = temperature, .seed = seed, .top_logprobs = 3};
      const SampledToken with = Sampler(options, device_.get()).sample(logits, {}, 5);
      const SampledToken without = Sampler(options).sample(logits, {}, 5);
      EXPECT_EQ(with.token, without.token);
      EXPECT_NEAR(with.logprob, without.logprob, 2e-6);
      ASSERT_EQ(with.top.size(), 3U);
      for (size_t i = 0; i < 3; ++i) EXPECT_EQ(with.top[i].first, without.top[i].first);
    }
  }
  const Sampler greedy({.top_logprobs = 0}, device_.get());
  const std::vector<float> bad = {1.0F, NAN, 2.0F};
  EXPECT_EQ(testing::status_of([&] { greedy.sample(bad, {}, 0); }), Status::invalid_argument);
}

}  // namespace
}  // namespace nanochat
