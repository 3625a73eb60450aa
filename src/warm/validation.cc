#include "warm/validation.h"

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "warm/component_files.h"

namespace nanochat {

namespace {

// What is not the component's fault, or says by itself which code it has.
bool is_its_own(Status status) {
  switch (status) {
    case Status::out_of_memory:
    case Status::budget_exceeded:
    case Status::working_memory_exhausted:
    case Status::cancelled:
    case Status::internal:
    case Status::thread_failed:
      return true;
    default:
      return static_cast<int32_t>(status) >= static_cast<int32_t>(Status::model_file_missing);
  }
}

std::vector<float> run(const Component& component, const Watch& watch) {
  try {
    return component.run_test(watch);
  } catch (const Error& error) {
    if (is_its_own(error.status())) throw;
    throw validation_failure(component.spec(), "the test inference failed: " + error.message()).cause(error);
  }
}

}  // namespace

struct ComponentCheck {
  const Component& component;
  const ComponentSpec& spec = component.spec();

  // Tokens and the rows of a fusion give several rows of `dimension`; all else gives one.
  void check_dimension(const std::vector<float>& output) const {
    const auto dimension = static_cast<size_t>(component.plan().dimension);
    const bool may_be_rows = component.plan().form == EmbeddingForm::tokens || component.fusion() != nullptr;
    if (may_be_rows ? !output.empty() && output.size() % dimension == 0 : output.size() == dimension) return;
    const auto actual = static_cast<uint64_t>(output.size());
    throw Error(Status::model_dimension_mismatch)
        .subject(spec.id)
        .field("model_id", spec.id)
        .field("expected", component.plan().dimension)
        .field("actual", actual)
        .hint("use the model version that the manifest means, or correct its dimension")
        .say("Model dimension mismatch for {}: expected {}, got {}", spec.id, component.plan().dimension,
             actual);
  }

  void check_finite(const std::vector<float>& output) const {
    for (size_t i = 0; i < output.size(); ++i) {
      if (std::isfinite(output[i])) continue;
      throw validation_failure(
          spec, format_text("value {} of {} of its test output is {}", i, output.size(), output[i]))
          .field("index", static_cast<uint64_t>(i));
    }
  }

  bool has_reference() const { return !component.reference_.empty(); }

  // The largest difference. Throws what is larger than the tolerance.
  double compare(const std::vector<float>& output) const {
    const std::vector<float>& reference = component.reference_;
    if (reference.empty()) return 0.0;
    if (reference.size() != output.size()) {
      throw validation_failure(spec, format_text("its test output has {} values, the reference has {}",
                                                 output.size(), reference.size()))
          .field("expected_output", static_cast<uint64_t>(reference.size()))
          .field("actual_output", static_cast<uint64_t>(output.size()));
    }
    double largest = 0.0;
    for (size_t i = 0; i < output.size(); ++i) {
      const double error = std::abs(static_cast<double>(output[i]) - static_cast<double>(reference[i]));
      largest = std::max(largest, error);
      if (error > spec.test.tolerance) refuse_difference(i, output[i], reference[i], output.size());
    }
    return largest;
  }

  [[noreturn]] void refuse_difference(size_t index, float actual, float expected, size_t n) const {
    throw validation_failure(
        spec, format_text("value {} of {} of its test output is {}, the reference has {}, tolerance {}",
                          index, n, actual, expected, spec.test.tolerance))
        .field("index", static_cast<uint64_t>(index))
        .field("expected_output", format_text("{}", expected))
        .field("actual_output", format_text("{}", actual))
        .field("tolerance", spec.test.tolerance);
  }

  void check_time(int64_t latency_us) const {
    if (latency_us <= spec.test.max_ms * 1000) return;
    throw validation_failure(spec, format_text("the test inference took {} ms, expected {} at most",
                                               (latency_us + 999) / 1000, spec.test.max_ms))
        .field("latency_us", latency_us)
        .field("max_ms", spec.test.max_ms);
  }
};

TestResult validate_component(const Component& component, const Watch& watch) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<float> output = run(component, watch);
  const auto taken = std::chrono::steady_clock::now() - start;
  const ComponentCheck check{component};
  TestResult result;
  result.latency_us = std::chrono::duration_cast<std::chrono::microseconds>(taken).count();
  check.check_dimension(output);
  check.check_finite(output);
  result.has_reference = check.has_reference();
  result.largest_error = check.compare(output);
  check.check_time(result.latency_us);
  return result;
}

}  // namespace nanochat
