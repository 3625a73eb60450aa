// FuseMoE against PyTorch's numbers, against a loop in double, and against itself in other batches.
#include "encoder/fuse_moe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "encoder/fuse_moe_weights.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

const std::string kSmall = model_path("fuse_moe_small");

std::shared_ptr<const FuseMoe> load_small(const std::string& isa = "",
                                          WeightDtype dtype = WeightDtype::as_stored) {
  return FuseMoe::load(make_device(isa), kSmall, {dtype}, {});
}

FuseMoeInput rows_of(const FuseMoe& model, std::span<const float> values) {
  const int64_t width = model.config().input_dim;
  return {values, std::ssize(values) / width, width};
}

FuseMoeOutput fuse(const FuseMoe& model, std::span<const float> values) {
  return model.forward(rows_of(model, values), {});
}

std::vector<float> random_rows(uint64_t seed, int64_t n) {
  const CounterRandom random(seed, 0);
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.normal(i));
  return values;
}

struct Expected {
  SafetensorsFile file{kSmall + "/expected.safetensors"};
  std::vector<float> inputs = floats_of(file, "inputs");
  std::vector<float> weights = floats_of(file, "weights");
  std::vector<float> selected_weights = floats_of(file, "selected_weights");
  std::vector<float> outputs = floats_of(file, "outputs");
  std::vector<int32_t> selected = ids_of(file, "selected");
};

double cosine_of(std::span<const float> a, std::span<const float> b) {
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

class FuseMoeOn : public DeviceTest {
 protected:
  std::shared_ptr<const FuseMoe> load_small(WeightDtype dtype = WeightDtype::as_stored) {
    return FuseMoe::load(device_, kSmall, {dtype}, {});
  }
};
NANOCHAT_ON_EVERY_DEVICE(FuseMoeOn);

TEST_P(FuseMoeOn, EqualsPyTorch) {
  const Expected expected;
  const auto model = load_small();
  const FuseMoeOutput out = fuse(*model, expected.inputs);
  const auto k = static_cast<size_t>(model->config().top_k);
  const auto n = static_cast<size_t>(model->config().n_experts);
  ASSERT_EQ(out.routing.size() * k, expected.selected.size());
  for (size_t row = 0; row < out.routing.size(); ++row) {
    const RoutingWeights& routing = out.routing[row];
    const std::vector<int32_t> selected(expected.selected.begin() + static_cast<ptrdiff_t>(row * k),
                                        expected.selected.begin() + static_cast<ptrdiff_t>((row + 1) * k));
    EXPECT_EQ(routing.selected_experts, selected) << "row " << row;
    expect_near(routing.weights, std::span(expected.weights).subspan(row * n, n), 2e-6F, "weights");
    expect_near(routing.selected_weights, std::span(expected.selected_weights).subspan(row * k, k), 4e-6F,
                "selected weights");
  }
  expect_near(out.values, expected.outputs, 1e-5F * 8.4F, "outputs");
}

TEST_P(FuseMoeOn, StaysCloseInEveryWeightType) {
  const Expected expected;
  for (const WeightDtype dtype : {WeightDtype::bf16, WeightDtype::i8, WeightDtype::f8}) {
    const auto model = load_small(dtype);
    EXPECT_EQ(model->weight_dtype(), dtype);
    EXPECT_EQ(model->weights().gate.dtype, DType::f32);
    const FuseMoeOutput out = fuse(*model, expected.inputs);
    EXPECT_GE(cosine_of(out.values, expected.outputs), 0.999);
    for (size_t row = 0; row < out.routing.size(); ++row) {
      EXPECT_EQ(out.routing[row].selected_experts[0],
                expected.selected[row * static_cast<size_t>(model->config().top_k)]);
    }
  }
}

TEST_P(FuseMoeOn, GivesARowTheSameBitsInEveryBatch) {
  for (const WeightDtype dtype : {WeightDtype::f32, WeightDtype::bf16, WeightDtype::i8, WeightDtype::f8}) {
    const auto model = load_small(dtype);
    const auto width = static_cast<size_t>(model->config().input_dim);
    const auto out_width = static_cast<size_t>(model->config().output_dim);
    const auto n_rows = static_cast<size_t>(size(300, 30));  // more than one pass, in time
    const std::vector<float> inputs = random_rows(7, static_cast<int64_t>(n_rows * width));
    const FuseMoeOutput all = fuse(*model, inputs);
    ASSERT_EQ(all.routing.size(), n_rows);
    for (size_t row = 0; row < n_rows; row += n_rows / 13) {
      const FuseMoeOutput alone = fuse(*model, std::span(inputs).subspan(row * width, width));
      EXPECT_TRUE(same_bits(alone.values, std::span(all.values).subspan(row * out_width, out_width))) << row;
      EXPECT_EQ(alone.routing[0].selected_experts, all.routing[row].selected_experts);
      EXPECT_TRUE(same_bits(alone.routing[0].weights, all.routing[row].weights));
    }
  }
}

TEST(FuseMoe, GivesTheSameBitsForAnyNumberOfThreads) {
  const std::vector<float> inputs = Expected().inputs;
  const auto one = FuseMoe::load(make_device("", 1), kSmall, {}, {});
  const auto three = FuseMoe::load(make_device("", 3), kSmall, {}, {});
  EXPECT_TRUE(same_bits(fuse(*one, inputs).values, fuse(*three, inputs).values));
}

// What create_random() documents, in double, for one row.
class DoubleLayer {
 public:
  DoubleLayer(const FuseMoeConfig& config, uint64_t seed) : config_(config), seed_(seed) {}

  std::vector<double> matrix_times(uint64_t slot, int64_t n, std::span<const double> x) const {
    const auto reach =
        static_cast<float>(std::sqrt(6.0 / static_cast<double>(n + static_cast<int64_t>(x.size()))));
    std::vector<double> y(static_cast<size_t>(n), 0.0);
    std::vector<std::array<uint32_t, 4>> blocks(x.size() / 4);
    for (uint64_t row = 0; row < y.size(); ++row) {
      philox4x32_blocks(seed_, slot, row * blocks.size(), blocks);
      for (size_t k = 0; k < x.size(); ++k) {
        const auto whole = static_cast<float>(static_cast<int32_t>(blocks[k / 4][k % 4]) >> 8);
        y[row] += static_cast<double>(reach * ((whole + 0.5F) * 0x1p-23F)) * x[k];
      }
    }
    return y;
  }

  std::vector<double> gate(std::span<const double> x) const {
    double mean = 0.0, variance = 0.0;
    for (const double value : x) mean += value / static_cast<double>(x.size());
    for (const double value : x) variance += (value - mean) * (value - mean) / static_cast<double>(x.size());
    std::vector<double> z;
    for (const double value : x) z.push_back((value - mean) / std::sqrt(variance + 1e-5));
    std::vector<double> p = matrix_times(2, config_.n_experts, z);
    double sum = 0.0;
    for (double& value : p) sum += value = std::exp(value / config_.temperature);
    const double n = static_cast<double>(config_.n_experts);
    for (double& value : p) value = (value / sum + config_.laplace_alpha) / (1 + config_.laplace_alpha * n);
    return p;
  }

  std::vector<double> expert(int64_t index, std::span<const double> x) const {
    const auto slot = static_cast<uint64_t>(4 + 4 * index);
    std::vector<double> hidden = matrix_times(slot, config_.expert_hidden_dim, x);
    for (double& value : hidden) {
      const double inner = std::sqrt(2 / M_PI) * (value + 0.044715 * value * value * value);
      value = 0.5 * value * (1 + std::tanh(inner));
    }
    return matrix_times(slot + 2, config_.output_dim, hidden);
  }

 private:
  FuseMoeConfig config_;
  uint64_t seed_;
};

TEST(FuseMoe, EqualsALoopInDoubleAtItsFullSize) {
  const FuseMoeConfig config;
  const auto model = FuseMoe::create_random(make_device(), config, 12, {}, {});
  const std::vector<float> x = random_rows(3, config.input_dim);
  const FuseMoeOutput out = fuse(*model, x);
  const std::vector<double> wide(x.begin(), x.end());
  const DoubleLayer layer(config, 12);
  const std::vector<double> p = layer.gate(wide);
  std::vector<double> sums(static_cast<size_t>(config.output_dim), 0.0);
  double total = 0.0;
  for (const int32_t expert : out.routing[0].selected_experts) total += p[static_cast<size_t>(expert)];
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(out.routing[0].weights[i], p[i], 5e-6) << i;
  for (const int32_t expert : out.routing[0].selected_experts) {
    const std::vector<double> y = layer.expert(expert, wide);
    for (size_t i = 0; i < y.size(); ++i) sums[i] += p[static_cast<size_t>(expert)] / total * y[i];
  }
  const std::vector<float> expected(sums.begin(), sums.end());
  float largest = 0.0F;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  expect_near(out.values, expected, 1e-5F * largest, "outputs");
}

TEST_P(FuseMoeOn, ComputesOnlyTheChosenExperts) {
  // A gate that never chooses experts 3 and 4, whose weights would make any sum infinite.
  FuseMoeConfig config;
  config = {.n_experts = 5, .top_k = 2, .input_dim = 16, .expert_hidden_dim = 8, .output_dim = 4};
  const auto model = FuseMoe::create_random(device_, config, 5, {}, {});
  FuseMoeWeights weights = model->weights();
  const float bias[] = {1000.0F, 1000.0F, 1000.0F, -1000.0F, -1000.0F};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  device_->copy_to_device(const_cast<float*>(weights.gate_bias), bias, sizeof bias);
  for (size_t i = 3; i < 5; ++i) {
    device_->copy_to_device(const_cast<float*>(weights.experts[i].fc2_bias), &nan, sizeof nan);
  }
  const std::vector<float> x = random_rows(9, 16 * 40);
  for (const float value : fuse(*model, x).values) EXPECT_TRUE(std::isfinite(value));
}

TEST(FuseMoe, PlansTheBytesThatItTakes) {
  for (const WeightDtype dtype :
       {WeightDtype::as_stored, WeightDtype::f32, WeightDtype::bf16, WeightDtype::i8, WeightDtype::f8}) {
    const FuseMoePlan plan = FuseMoe::plan(kSmall, {dtype});
    const auto model = load_small("", dtype);
    EXPECT_EQ(model->device().memory().stats().model_bytes, plan.weight_bytes);
    EXPECT_EQ(model->plan().weight_bytes, plan.weight_bytes);
    EXPECT_EQ(model->plan().file_bytes, plan.file_bytes);
    const std::vector<float> inputs = random_rows(1, (FuseMoe::kPassRows + 1) * model->config().input_dim);
    fuse(*model, inputs);
    const MemoryStats stats = model->device().memory().stats();
    EXPECT_EQ(stats.used_bytes, plan.weight_bytes);
  }
  EXPECT_EQ(FuseMoe::plan(FuseMoeConfig{}, {}).n_parameters, 323089672);
}

TEST(FuseMoe, RefusesInputsThatAreNoRowsOfItsWidth) {
  const auto model = load_small();
  const auto message_of = [&](const FuseMoeInput& input) {
    try {
      model->forward(input, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
      return error.message();
    }
    return std::string("accepted");
  };
  const std::vector<float> values(83 * 3, 0.5F);
  EXPECT_EQ(message_of({{}, 0, 83}), "the batch has 0 rows, expected one at least");
  EXPECT_EQ(message_of({values, 3, 82}), "rows are 82 wide, the layer's input_dim is 83");
  EXPECT_EQ(message_of({values, 4, 83}), "249 values, expected 4 rows of 83");
  EXPECT_EQ(message_of({values, -1, 83}), "the batch has -1 rows, expected one at least");
  const std::pair<float, std::string> bad_values[] = {{std::nanf(""), "nan"},
                                                      {std::numeric_limits<float>::infinity(), "inf"}};
  for (const auto& [bad, shown] : bad_values) {
    std::vector<float> damaged = values;
    damaged[2 * 83 + 41] = bad;
    EXPECT_EQ(message_of({damaged, 3, 83}), "row 2: value 41 is " + shown + ", expected a finite number");
  }
}

TEST(FuseMoe, AcceptsRowsOfZeros) {
  const auto model = load_small();
  const std::vector<float> zeros(static_cast<size_t>(model->config().input_dim), 0.0F);
  for (const float value : fuse(*model, zeros).values) EXPECT_TRUE(std::isfinite(value));
}

TEST(FuseMoe, StopsWhenAsked) {
  const auto model = load_small();
  CancelToken cancel;
  cancel.request();
  Watch watch;
  watch.cancel = &cancel;
  const std::vector<float> inputs = random_rows(1, model->config().input_dim);
  EXPECT_THROW(model->forward(rows_of(*model, inputs), watch), Error);
  EXPECT_THROW(FuseMoe::load(make_device(), kSmall, {}, watch), Error);
}

}  // namespace
}  // namespace nanochat::testing
