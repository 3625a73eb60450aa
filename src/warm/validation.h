// What a loaded component must show before it is warm, and at every full health check again.
#pragma once

#include <cstdint>
#include <string>

#include "base/cancel.h"
#include "warm/component.h"

namespace nanochat {

struct TestResult {
  int64_t latency_us = 0;
  double largest_error = 0.0;  // against the reference; 0 without one
  bool has_reference = false;
};

// Runs the test inference. Throws model_dimension_mismatch (expected, actual), model_validation_failed: an
// output that is not finite (index), that differs from the reference by more than the tolerance (index, both
// values, tolerance), that has another length, or that took longer than max_ms.
TestResult validate_component(const Component& component, const Watch& watch);

}  // namespace nanochat
