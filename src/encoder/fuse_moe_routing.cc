#include "encoder/fuse_moe_routing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace nanochat {

namespace {

// exp((x - largest) / temperature); all zero if every logit is -infinity.
std::vector<double> exponentials(std::span<const float> logits, double temperature) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float largest = -kInfinity;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == kInfinity) {
      throw Error(Status::out_of_range)
          .subject("gate")
          .say("the gate's number of expert {} is {}, expected a finite one", i, logits[i])
          .hint("the inputs are too large for the gate's weights");
    }
    largest = std::max(largest, logits[i]);
  }
  std::vector<double> values(logits.size(), 0.0);
  if (largest == -kInfinity) return values;
  for (size_t i = 0; i < logits.size(); ++i) {
    values[i] = std::exp((static_cast<double>(logits[i]) - static_cast<double>(largest)) / temperature);
  }
  return values;
}

double sum_of(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

}  // namespace

RoutingWeights route(std::span<const float> logits, const FuseMoeConfig& config) {
  RoutingWeights out;
  std::vector<double> weights = exponentials(logits, config.temperature);
  const double sum = sum_of(weights);
  out.is_fallback = sum == 0.0;
  const auto n = static_cast<double>(logits.size());
  for (double& weight : weights) {
    weight = out.is_fallback ? 1.0 / n : weight / sum;
    if (config.laplace_alpha > 0.0) {
      weight = (weight + config.laplace_alpha) / (1.0 + config.laplace_alpha * n);
    }
  }
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return weights[static_cast<size_t>(a)] > weights[static_cast<size_t>(b)];
  });
  order.resize(static_cast<size_t>(config.top_k));
  double selected_sum = 0.0;
  for (const int32_t expert : order) selected_sum += weights[static_cast<size_t>(expert)];
  for (const int32_t expert : order) {
    out.selected_weights.push_back(static_cast<float>(weights[static_cast<size_t>(expert)] / selected_sum));
  }
  out.weights.assign(weights.begin(), weights.end());
  out.selected_experts = std::move(order);
  return out;
}

void ExpertStatistics::require_experts(std::span<const RoutingWeights> batch) const {
  const auto n = static_cast<int64_t>(loads_.size());
  for (const RoutingWeights& row : batch) {
    for (const int32_t expert : row.selected_experts) {
      if (expert >= 0 && expert < n) continue;
      throw Error(Status::out_of_range)
          .subject("routing")
          .say("expert index {}, expected 0 to {}", expert, n - 1);
    }
  }
}

void ExpertStatistics::add(std::span<const RoutingWeights> batch, Log& log) {
  require_experts(batch);
  uint64_t n_fallback = 0;
  size_t n_uneven = 0;
  UtilisationReport overload;
  bool is_new_alert = false;
  {
    const std::lock_guard lock(mutex_);
    for (const RoutingWeights& row : batch) {
      n_fallback += row.is_fallback ? 1 : 0;
      const double sum = std::accumulate(row.weights.begin(), row.weights.end(), 0.0);
      if (!(std::abs(sum - 1.0) <= 0.01)) ++n_uneven;
      for (size_t i = 0; i < row.selected_experts.size(); ++i) {
        const auto expert = static_cast<size_t>(row.selected_experts[i]);
        ++n_selected_[expert];
        loads_[expert] += static_cast<double>(row.selected_weights[i]);
      }
    }
    n_rows_ += batch.size();
    n_fallback_ += n_fallback;
    overload = report_locked();
    const bool is_alert = overload.overloaded_expert >= 0;
    is_new_alert = is_alert && !is_alert_on_;
    is_alert_on_ = is_alert;
  }
  // Outside of the lock: the sink is the caller's.
  if (is_new_alert) {
    const int64_t expert = overload.overloaded_expert;
    log.write(LogLevel::warning, "FuseMoE: expert {} carries {} of the load of {} rows, above {}", expert,
              overload.experts[static_cast<size_t>(expert)].load, overload.n_rows, kAlertLoad);
  }
  if (n_fallback > 0) {
    log.write(LogLevel::warning, "FuseMoE: {} of {} rows had no expert with weight and use all alike",
              n_fallback, batch.size());
  }
  if (n_uneven > 0) {
    log.write(LogLevel::warning, "FuseMoE: the weights of {} of {} rows do not sum to 1 within 0.01",
              n_uneven, batch.size());
  }
}

UtilisationReport ExpertStatistics::report() const {
  const std::lock_guard lock(mutex_);
  return report_locked();
}

UtilisationReport ExpertStatistics::report_locked() const {
  UtilisationReport report;
  report.n_rows = n_rows_;
  report.n_fallback = n_fallback_;
  const double rows = std::max(1.0, static_cast<double>(n_rows_));
  for (size_t i = 0; i < loads_.size(); ++i) {
    report.experts.push_back({n_selected_[i], loads_[i] / rows});
    if (n_rows_ >= kAlertRows && report.experts.back().load > kAlertLoad) {
      report.overloaded_expert = static_cast<int64_t>(i);
    }
  }
  return report;
}

void ExpertStatistics::reset() {
  const std::lock_guard lock(mutex_);
  n_rows_ = n_fallback_ = 0;
  std::fill(n_selected_.begin(), n_selected_.end(), 0);
  std::fill(loads_.begin(), loads_.end(), 0.0);
  is_alert_on_ = false;
}

}  // namespace nanochat
