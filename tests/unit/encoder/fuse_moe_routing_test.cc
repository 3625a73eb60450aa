// The gate's choice for one row, and what is counted over many.
#include "encoder/fuse_moe_routing.h"

#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace nanochat {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

FuseMoeConfig four_of(int64_t n_experts, int64_t top_k = 4, double alpha = 0.0, double temperature = 1.0) {
  FuseMoeConfig config;
  config.n_experts = n_experts;
  config.top_k = top_k;
  config.laplace_alpha = alpha;
  config.temperature = temperature;
  return config;
}

TEST(FuseMoeConfig, HasTheDefaultsOfTheSpecification) {
  const FuseMoeConfig config;
  EXPECT_EQ(config.n_experts, 8);
  EXPECT_EQ(config.top_k, 4);
  EXPECT_EQ(config.input_dim, 8320);
  EXPECT_EQ(config.expert_hidden_dim, 4096);
  EXPECT_EQ(config.output_dim, 1536);
  EXPECT_EQ(config.load_balance_coef, 0.01);
  EXPECT_EQ(config.capacity_factor, 1.25);
  EXPECT_EQ(config.temperature, 1.0);
  EXPECT_EQ(config.noise_std, 0.0);
  EXPECT_EQ(config.laplace_alpha, 0.01);
  config.validate();
  EXPECT_EQ(FuseMoeConfig::for_inference().load_balance_coef, 0.0);
  EXPECT_EQ(FuseMoeConfig::for_inference().noise_std, 0.0);
  EXPECT_EQ(FuseMoeConfig::for_training().noise_std, 0.1);
  EXPECT_EQ(FuseMoeConfig::for_training().load_balance_coef, 0.01);
}

TEST(FuseMoeConfig, RefusesEveryFieldOutsideOfItsRangeByName) {
  struct Case {
    void (*spoil)(FuseMoeConfig&);
    std::string field;
  };
  const Case cases[] = {
      {[](FuseMoeConfig& c) { c.n_experts = 0; }, "num_experts"},
      {[](FuseMoeConfig& c) { c.top_k = 0; }, "top_k"},
      {[](FuseMoeConfig& c) { c.top_k = 9; }, "top_k"},
      {[](FuseMoeConfig& c) { c.input_dim = 0; }, "input_dim"},
      {[](FuseMoeConfig& c) { c.expert_hidden_dim = -1; }, "expert_hidden_dim"},
      {[](FuseMoeConfig& c) { c.output_dim = 0; }, "output_dim"},
      {[](FuseMoeConfig& c) { c.temperature = 0.0; }, "temperature"},
      {[](FuseMoeConfig& c) { c.temperature = std::nan(""); }, "temperature"},
      {[](FuseMoeConfig& c) { c.capacity_factor = 0.99; }, "capacity_factor"},
      {[](FuseMoeConfig& c) { c.capacity_factor = std::nan(""); }, "capacity_factor"},
      {[](FuseMoeConfig& c) { c.laplace_alpha = -0.01; }, "laplace_alpha"},
      {[](FuseMoeConfig& c) { c.laplace_alpha = std::nan(""); }, "laplace_alpha"},
      {[](FuseMoeConfig& c) { c.noise_std = -1.0; }, "noise_std"},
      {[](FuseMoeConfig& c) { c.noise_std = std::nan(""); }, "noise_std"},
      {[](FuseMoeConfig& c) { c.load_balance_coef = -1.0; }, "load_balance_coef"},
  };
  for (const auto& [spoil, field] : cases) {
    FuseMoeConfig config;
    spoil(config);
    try {
      config.validate();
      ADD_FAILURE() << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::config_invalid);
      EXPECT_EQ(error.subject(), field);
      EXPECT_NE(error.message().find(field), std::string::npos) << error.message();
    }
  }
}

TEST(FuseMoeConfig, ComesBackFromItsJson) {
  FuseMoeConfig config = FuseMoeConfig::for_training();
  config.top_k = 2;
  config.temperature = 0.3;
  EXPECT_EQ(parse_fuse_moe_config(fuse_moe_config_json(config), "config.json"), config);
  EXPECT_EQ(parse_fuse_moe_config(Json{{"model_type", "fuse_moe"}}, "config.json"), FuseMoeConfig());
  EXPECT_THROW(parse_fuse_moe_config(Json{{"model_type", "bert"}}, "config.json"), Error);
  EXPECT_THROW(parse_fuse_moe_config(Json{{"top_k", 4}}, "config.json"), Error);
  EXPECT_THROW(parse_fuse_moe_config(Json{{"model_type", "fuse_moe"}, {"temperature", -1.0}}, "config.json"),
               Error);
}

TEST(Route, IsTheSmoothedSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0.5F, -1.25F, 2.0F, 0.0F};
  const RoutingWeights routing = route(logits, four_of(4, 2, 0.05, 0.5));
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) / 0.5);
  std::vector<double> expected;
  for (const float logit : logits) {
    expected.push_back((std::exp(static_cast<double>(logit) / 0.5) / sum + 0.05) / (1 + 0.05 * 4));
  }
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(routing.weights[i], expected[i], 1e-7);
  EXPECT_EQ(routing.selected_experts, (std::vector<int32_t>{2, 0}));
  EXPECT_NEAR(routing.selected_weights[0], expected[2] / (expected[2] + expected[0]), 1e-7);
  EXPECT_NEAR(routing.selected_weights[1], expected[0] / (expected[2] + expected[0]), 1e-7);
  EXPECT_FALSE(routing.is_fallback);
}

TEST(Route, PrefersTheLowerIndexAmongEqualWeights) {
  const std::vector<float> logits = {1.0F, 2.0F, 1.0F, 2.0F, 1.0F, 2.0F};
  EXPECT_EQ(route(logits, four_of(6)).selected_experts, (std::vector<int32_t>{1, 3, 5, 0}));
}

TEST(Route, GivesOneExpertTheWholeWeight) {
  const std::vector<float> logits = {1.0F, 2.0F, 1.0F};
  EXPECT_EQ(route(logits, four_of(3, 1, 0.01)).selected_weights, (std::vector<float>{1.0F}));
}

TEST(Route, SurvivesLogitsThatOverflowAnExponential) {
  const std::vector<float> logits = {3e38F, -3e38F, 3e38F, 0.0F};
  const RoutingWeights routing = route(logits, four_of(4, 2, 0.0, 0.1));
  EXPECT_EQ(routing.selected_experts, (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(routing.selected_weights, (std::vector<float>{0.5F, 0.5F}));
}

TEST(Route, FallsBackToUniformWhenEveryWeightVanishes) {
  const std::vector<float> logits(8, -kInfinity);
  for (const double alpha : {0.0, 0.01}) {
    const RoutingWeights routing = route(logits, four_of(8, 4, alpha));
    EXPECT_TRUE(routing.is_fallback);
    EXPECT_EQ(routing.selected_experts, (std::vector<int32_t>{0, 1, 2, 3}));
    for (const float weight : routing.weights) EXPECT_FLOAT_EQ(weight, 0.125F);
    for (const float weight : routing.selected_weights) EXPECT_FLOAT_EQ(weight, 0.25F);
  }
}

TEST(Route, RefusesNumbersThatNoSoftmaxHas) {
  for (const float bad : {std::nanf(""), kInfinity}) {
    const std::vector<float> logits = {0.0F, 1.0F, bad, 2.0F};
    try {
      route(logits, four_of(4));
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_range);
      EXPECT_NE(error.message().find("expert 2"), std::string::npos) << error.message();
    }
  }
}

RoutingWeights chosen(std::vector<int32_t> experts, std::vector<float> weights, int64_t n_experts = 4) {
  RoutingWeights routing;
  routing.weights.assign(static_cast<size_t>(n_experts), 1.0F / static_cast<float>(n_experts));
  routing.selected_experts = std::move(experts);
  routing.selected_weights = std::move(weights);
  return routing;
}

struct Lines {
  std::vector<std::string> lines;
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::warning};
};

TEST(ExpertStatistics, CountsChoicesAndLoad) {
  ExpertStatistics statistics(4);
  Lines log;
  statistics.add(std::vector{chosen({1, 0}, {0.75F, 0.25F}), chosen({1, 3}, {0.5F, 0.5F})}, log.log);
  const UtilisationReport report = statistics.report();
  EXPECT_EQ(report.n_rows, 2u);
  EXPECT_EQ(report.experts[1].n_selected, 2u);
  EXPECT_EQ(report.experts[2].n_selected, 0u);
  EXPECT_DOUBLE_EQ(report.experts[0].load, 0.125);
  EXPECT_DOUBLE_EQ(report.experts[1].load, 0.625);
  EXPECT_DOUBLE_EQ(report.experts[3].load, 0.25);
  EXPECT_EQ(report.overloaded_expert, -1);
  EXPECT_TRUE(log.lines.empty());
  statistics.reset();
  EXPECT_EQ(statistics.report().n_rows, 0u);
  EXPECT_EQ(statistics.report().experts[1].n_selected, 0u);
}

TEST(ExpertStatistics, WarnsOnceWhenOneExpertTakesMoreThanFourFifths) {
  ExpertStatistics statistics(4);
  Lines log;
  const std::vector<RoutingWeights> heavy(50, chosen({2, 0}, {0.9F, 0.1F}));
  statistics.add(heavy, log.log);
  EXPECT_TRUE(log.lines.empty()) << "50 rows are too few";
  statistics.add(heavy, log.log);
  ASSERT_EQ(log.lines.size(), 1u);
  EXPECT_NE(log.lines[0].find("expert 2"), std::string::npos) << log.lines[0];
  EXPECT_EQ(statistics.report().overloaded_expert, 2);
  statistics.add(heavy, log.log);
  EXPECT_EQ(log.lines.size(), 1u) << "once";
  statistics.add(std::vector<RoutingWeights>(100, chosen({0, 1}, {0.6F, 0.4F})), log.log);
  EXPECT_EQ(statistics.report().overloaded_expert, -1);
  statistics.add(std::vector<RoutingWeights>(2000, chosen({2, 0}, {0.9F, 0.1F})), log.log);
  EXPECT_EQ(log.lines.size(), 2u) << "again after it was below";
}

TEST(ExpertStatistics, WarnsOfRowsThatFellBackOrDoNotSumToOne) {
  ExpertStatistics statistics(4);
  Lines log;
  RoutingWeights routing = chosen({0, 1}, {0.5F, 0.5F});
  routing.is_fallback = true;
  statistics.add({&routing, 1}, log.log);
  ASSERT_EQ(log.lines.size(), 1u);
  EXPECT_EQ(statistics.report().n_fallback, 1u);
  routing.is_fallback = false;
  routing.weights[0] += 0.02F;
  statistics.add({&routing, 1}, log.log);
  EXPECT_EQ(log.lines.size(), 2u);
}

TEST(ExpertStatistics, RefusesAnExpertThatDoesNotExistAndAddsNothing) {
  ExpertStatistics statistics(4);
  Lines log;
  for (const int32_t expert : {4, -1}) {
    const std::vector<RoutingWeights> batch = {chosen({0, 1}, {0.5F, 0.5F}),
                                               chosen({0, expert}, {0.5F, 0.5F})};
    EXPECT_THROW(statistics.add(batch, log.log), Error);
  }
  EXPECT_EQ(statistics.report().n_rows, 0u);
}

TEST(ExpertStatistics, LosesNothingBetweenThreads) {
  ExpertStatistics statistics(4);
  Log log;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const RoutingWeights routing = chosen({1, 2}, {0.5F, 0.5F});
      for (int n = 0; n < 1000; ++n) statistics.add({&routing, 1}, log);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(statistics.report().n_rows, 4000u);
  EXPECT_EQ(statistics.report().experts[1].n_selected, 4000u);
  EXPECT_DOUBLE_EQ(statistics.report().experts[2].load, 0.5);
}

}  // namespace
}  // namespace nanochat
