#include "encoder/fuse_moe.h"

#include <algorithm>

#include "base/error.h"
#include "encoder/fuse_moe_weights.h"
#include "tensor/pass_scope.h"

namespace nanochat {

namespace {

void check_input(const FuseMoeInput& input, const FuseMoeConfig& config) {
  if (input.n_rows < 1) {
    throw Error(Status::invalid_argument)
        .subject("inputs")
        .say("the batch has {} rows, expected one at least", input.n_rows);
  }
  if (input.width != config.input_dim) {
    throw Error(Status::invalid_argument)
        .subject("inputs")
        .say("rows are {} wide, the layer's input_dim is {}", input.width, config.input_dim);
  }
  const uint64_t n_values = input.values.size();
  const auto width = static_cast<uint64_t>(input.width);
  if (n_values % width != 0 || n_values / width != static_cast<uint64_t>(input.n_rows)) {
    throw Error(Status::invalid_argument)
        .subject("inputs")
        .say("{} values, expected {} rows of {}", input.values.size(), input.n_rows, input.width);
  }
}

[[noreturn]] void refuse_value(int64_t row, int64_t index, float value) {
  throw Error(Status::invalid_argument)
      .subject("inputs")
      .field("row", row)
      .field("index", index)
      .say("row {}: value {} is {}, expected a finite number", row, index, value);
}

// Which rows an expert computes: outputs first.. of the pass belong to it.
struct ExpertRows {
  int64_t first_output = 0;
  std::vector<int64_t> rows;
};

// One pass over up to kPassRows rows.
class Pass {
 public:
  Pass(const FuseMoe& model, const FuseMoeBuffers& buffers, const Watch& watch)
      : model_(model), device_(model.device()), buffers_(buffers), watch_(watch) {}

  void run(const float* rows, int64_t n_rows, int64_t first_row, FuseMoeOutput& out) {
    n_rows_ = n_rows;
    x_ = place(rows);
    find_bad_value(rows, first_row);
    gate(first_row, out);
    const std::span<const RoutingWeights> routing(out.routing.data() + first_row,
                                                  static_cast<size_t>(n_rows));
    group(routing);
    for (size_t expert = 0; expert < grouped_.size(); ++expert) {
      watch_.check();
      if (!grouped_[expert].rows.empty()) compute(expert);
    }
    mix(routing);
    device_.synchronize();
    const int64_t width = config().output_dim;
    device_.copy_to_host(out.values.data() + first_row * width, buffers_.mixed,
                         static_cast<size_t>(n_rows * width) * sizeof(float));
  }

 private:
  const FuseMoeConfig& config() const { return model_.config(); }
  const FuseMoeWeights& weights() const { return model_.weights(); }
  const Kernels& kernels() const { return device_.kernels(); }

  const float* place(const float* rows) {
    if (device_.is_host()) return rows;
    device_.copy_to_device(buffers_.x, rows,
                           static_cast<size_t>(n_rows_ * config().input_dim) * sizeof(float));
    return buffers_.x;
  }

  void find_bad_value(const float* rows, int64_t first_row) {
    const int64_t width = config().input_dim;
    const int64_t bad = kernels().find_not_finite(device_, x_, DType::f32, n_rows_ * width);
    if (bad >= 0) refuse_value(first_row + bad / width, bad % width, rows[bad]);
  }

  void gate(int64_t first_row, FuseMoeOutput& out) {
    const int64_t width = config().input_dim, n_experts = config().n_experts;
    kernels().layer_norm(device_, x_, width, buffers_.rows, width, n_rows_, width, FuseMoe::kNormEpsilon,
                         weights().norm_weight, weights().norm_bias);
    linear(weights().gate, buffers_.rows, buffers_.logits);
    kernels().bias_activation(device_, buffers_.logits, n_experts, n_rows_, n_experts, weights().gate_bias,
                              RowActivation::none);
    device_.synchronize();
    std::vector<float> logits(static_cast<size_t>(n_rows_ * n_experts));
    device_.copy_to_host(logits.data(), buffers_.logits, logits.size() * sizeof(float));
    for (int64_t row = 0; row < n_rows_; ++row) {
      const std::span<const float> own(logits.data() + row * n_experts, static_cast<size_t>(n_experts));
      try {
        out.routing.push_back(route(own, config()));
      } catch (const Error& error) {
        throw Error(error.status())
            .subject("inputs")
            .field("row", first_row + row)
            .hint(error.hint())
            .cause(error)
            .say("row {}: {}", first_row + row, error.message());
      }
    }
  }

  void linear(const PackedMatrix& matrix, const float* x, float* y) { linear(matrix, x, n_rows_, y); }
  void linear(const PackedMatrix& matrix, const float* x, int64_t n_rows, float* y) {
    kernels().linear(device_, matrix, x, matrix.k, n_rows, y, matrix.n, LinearOutput::store);
  }

  void group(std::span<const RoutingWeights> routing) {
    grouped_.assign(static_cast<size_t>(config().n_experts), {});
    for (size_t row = 0; row < routing.size(); ++row) {
      for (const int32_t expert : routing[row].selected_experts) {
        grouped_[static_cast<size_t>(expert)].rows.push_back(static_cast<int64_t>(row));
      }
    }
    int64_t n_outputs = 0;
    for (ExpertRows& expert : grouped_) {
      expert.first_output = n_outputs;
      n_outputs += std::ssize(expert.rows);
    }
  }

  // The expert's rows of x, one after another.
  const float* gather(const ExpertRows& group) {
    const int64_t width = config().input_dim;
    if (std::ssize(group.rows) == n_rows_) return x_;
    for (size_t i = 0; i < group.rows.size(); ++i) {
      device_.copy(buffers_.rows + static_cast<int64_t>(i) * width, x_ + group.rows[i] * width,
                   static_cast<size_t>(width) * sizeof(float));
    }
    return buffers_.rows;
  }

  void compute(size_t index) {
    const FuseMoeExpert& expert = weights().experts[index];
    const ExpertRows& group = grouped_[index];
    const int64_t n = std::ssize(group.rows), hidden = config().expert_hidden_dim, out = config().output_dim;
    float* const y = buffers_.outputs + group.first_output * out;
    linear(expert.fc1, gather(group), n, buffers_.hidden);
    kernels().bias_activation(device_, buffers_.hidden, hidden, n, hidden, expert.fc1_bias,
                              RowActivation::gelu_tanh);
    linear(expert.fc2, buffers_.hidden, n, y);
    kernels().bias_activation(device_, y, out, n, out, expert.fc2_bias, RowActivation::none);
  }

  // Every row adds up its experts in the order of their weights, largest first.
  void mix(std::span<const RoutingWeights> routing) {
    const int64_t width = config().output_dim;
    std::vector<size_t> next(grouped_.size(), 0);
    for (size_t row = 0; row < routing.size(); ++row) {
      float* const y = buffers_.mixed + static_cast<int64_t>(row) * width;
      float first_weight = 1.0F;
      for (size_t rank = 0; rank < routing[row].selected_experts.size(); ++rank) {
        const auto expert = static_cast<size_t>(routing[row].selected_experts[rank]);
        const int64_t output = grouped_[expert].first_output + static_cast<int64_t>(next[expert]++);
        const float* const from = buffers_.outputs + output * width;
        const float weight = routing[row].selected_weights[rank];
        if (rank == 0) {
          device_.copy(y, from, static_cast<size_t>(width) * sizeof(float));
          first_weight = weight;
        } else {
          kernels().scale_add(device_, weight, from, rank == 1 ? first_weight : 1.0F, y, width);
        }
      }
    }
  }

  const FuseMoe& model_;
  Device& device_;
  const FuseMoeBuffers& buffers_;
  const Watch& watch_;
  int64_t n_rows_ = 0;
  const float* x_ = nullptr;  // the pass's rows, in device memory
  std::vector<ExpertRows> grouped_;
};

}  // namespace

FuseMoeOutput FuseMoe::forward(const FuseMoeInput& input, const Watch& watch) const {
  check_input(input, config_);
  watch.check();
  const int64_t most_rows = std::min(input.n_rows, kPassRows);
  const Block block = device_->memory().allocate(
      PoolKind::working, lay_out_fuse_moe_pass(config_, most_rows, nullptr).n_bytes, "FuseMoE pass");
  const FuseMoeBuffers buffers = lay_out_fuse_moe_pass(config_, most_rows, block.as());
  const PassScope scope(*device_);
  FuseMoeOutput out;
  out.values.resize(static_cast<size_t>(input.n_rows * config_.output_dim));
  out.routing.reserve(static_cast<size_t>(input.n_rows));
  Pass pass(*this, buffers, watch);
  for (int64_t first = 0; first < input.n_rows; first += kPassRows) {
    const int64_t n = std::min(kPassRows, input.n_rows - first);
    pass.run(input.values.data() + first * input.width, n, first, out);
    watch.report("fuse", static_cast<uint64_t>(first + n), static_cast<uint64_t>(input.n_rows));
  }
  return out;
}

}  // namespace nanochat
