// Which experts a row goes to, and how often each was chosen.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/log.h"
#include "encoder/fuse_moe_config.h"

namespace nanochat {

struct RoutingWeights {
  std::vector<float> weights;             // of every expert, after smoothing; their sum is 1
  std::vector<int32_t> selected_experts;  // top_k of them, largest weight first
  std::vector<float> selected_weights;    // sum 1
  bool is_fallback = false;  // the gate gave every expert weight zero, so all experts count the same
};

// The gate's softmax, smoothing and choice for one row, in double. Throws out_of_range where a logit is NaN
// or +infinity. Logits that are all -infinity leave no weight: the fallback.
RoutingWeights route(std::span<const float> logits, const FuseMoeConfig& config);

// How much each expert was used. `load` is the part of the output's weight that it had: loads sum to 1.
struct ExpertUtilisation {
  uint64_t n_selected;  // rows that chose it
  double load;
};

struct UtilisationReport {
  uint64_t n_rows = 0;
  uint64_t n_fallback = 0;
  std::vector<ExpertUtilisation> experts;
  int64_t overloaded_expert = -1;  // whose load is above the alert's; -1: none
};

// Accumulates what batches were routed to. Thread-safe.
class ExpertStatistics {
 public:
  static constexpr double kAlertLoad = 0.8;
  static constexpr uint64_t kAlertRows = 100;  // fewer say nothing about the gate

  explicit ExpertStatistics(int64_t n_experts)
      : n_selected_(size_of(n_experts)), loads_(n_selected_.size()) {}

  // Adds a batch. Writes a warning to the log when one expert's load goes above kAlertLoad (again only after
  // it was below in between), when rows had to fall back, and when a row's weights do not sum to 1 within
  // 0.01. out_of_range, and nothing is added, where a row names an expert that does not exist.
  void add(std::span<const RoutingWeights> batch, Log& log);

  UtilisationReport report() const;
  void reset();

 private:
  static size_t size_of(int64_t n_experts) { return static_cast<size_t>(n_experts); }
  void require_experts(std::span<const RoutingWeights> batch) const;
  UtilisationReport report_locked() const;

  mutable std::mutex mutex_;  // guards all below
  uint64_t n_rows_ = 0, n_fallback_ = 0;
  std::vector<uint64_t> n_selected_;
  std::vector<double> loads_;  // sums of selected weights
  bool is_alert_on_ = false;
};

}  // namespace nanochat
