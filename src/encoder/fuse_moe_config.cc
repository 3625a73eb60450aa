#include "encoder/fuse_moe_config.h"

#include <limits>

#include "base/error.h"
#include "encoder/fuse_moe.h"
#include "model/config_reader.h"

namespace nanochat {

namespace {

constexpr int64_t kMostExperts = 1024;
constexpr int64_t kWidest = PackedMatrix::kMostInt8Inputs;
constexpr double kLargestAlpha = 1e6;  // far beyond it every expert weighs the same
constexpr double kLargest = std::numeric_limits<double>::max();

[[noreturn]] void refuse(const char* field, const FormatArgument& value, std::string_view expected) {
  throw Error(Status::config_invalid)
      .subject(field)
      .field("field", field)
      .field("reason", format_text("is {}, expected {}", value.text(), expected))
      .say("FuseMoE: {} is {}, expected {}", field, value.text(), expected);
}

void require_integer(const char* field, int64_t value, int64_t most) {
  if (value < 1 || value > most) refuse(field, value, format_text("1 to {}", most));
}

// NaN fails the comparison.
void require_not_negative(const char* field, double value) {
  if (!(value >= 0.0 && value <= kLargest)) refuse(field, value, "a finite number, 0 or more");
}

}  // namespace

FuseMoeConfig FuseMoeConfig::for_inference() {
  FuseMoeConfig config;
  config.load_balance_coef = 0.0;
  return config;
}

FuseMoeConfig FuseMoeConfig::for_training() {
  FuseMoeConfig config;
  config.noise_std = 0.1;
  return config;
}

void FuseMoeConfig::validate() const {
  require_integer("num_experts", n_experts, kMostExperts);
  require_integer("top_k", top_k, n_experts);
  require_integer("input_dim", input_dim, kWidest);
  require_integer("expert_hidden_dim", expert_hidden_dim, kWidest);
  require_integer("output_dim", output_dim, kWidest);
  if (!(temperature > 0.0 && temperature <= kLargest)) {
    refuse("temperature", temperature, "a finite number above 0");
  }
  if (!(laplace_alpha >= 0.0 && laplace_alpha <= kLargestAlpha)) {
    refuse("laplace_alpha", laplace_alpha, format_text("0 to {}", kLargestAlpha));
  }
  require_not_negative("load_balance_coef", load_balance_coef);
  require_not_negative("noise_std", noise_std);
  if (!(capacity_factor >= 1.0 && capacity_factor <= kLargest)) {
    refuse("capacity_factor", capacity_factor, "a finite number, 1 or more");
  }
}

FuseMoeConfig parse_fuse_moe_config(const Json& document, std::string_view file_name) {
  const ConfigReader reader(document, file_name);
  if (!reader.has("model_type")) reader.refuse("model_type", "\"fuse_moe\"");
  reader.require_text("model_type", "fuse_moe");
  reader.require_number("layer_norm_eps", static_cast<double>(FuseMoe::kNormEpsilon));
  constexpr Range<double> kAny{-kLargest, kLargest};
  constexpr Range<int64_t> kDimension{1, kWidest};
  const FuseMoeConfig defaults;
  FuseMoeConfig config;
  config.n_experts = reader.integer("num_experts", {1, kMostExperts}, defaults.n_experts);
  config.top_k = reader.integer("top_k", {1, config.n_experts}, defaults.top_k);
  config.input_dim = reader.integer("input_dim", kDimension, defaults.input_dim);
  config.expert_hidden_dim = reader.integer("expert_hidden_dim", kDimension, defaults.expert_hidden_dim);
  config.output_dim = reader.integer("output_dim", kDimension, defaults.output_dim);
  config.temperature = reader.number("temperature", kAny, defaults.temperature);
  config.laplace_alpha = reader.number("laplace_alpha", kAny, defaults.laplace_alpha);
  config.load_balance_coef = reader.number("load_balance_coef", kAny, defaults.load_balance_coef);
  config.capacity_factor = reader.number("capacity_factor", kAny, defaults.capacity_factor);
  config.noise_std = reader.number("noise_std", kAny, defaults.noise_std);
  config.validate();
  return config;
}

Json fuse_moe_config_json(const FuseMoeConfig& config) {
  return {{"model_type", "fuse_moe"},
          {"num_experts", config.n_experts},
          {"top_k", config.top_k},
          {"input_dim", config.input_dim},
          {"expert_hidden_dim", config.expert_hidden_dim},
          {"output_dim", config.output_dim},
          {"layer_norm_eps", shortest_decimal(FuseMoe::kNormEpsilon)},
          {"temperature", config.temperature},
          {"laplace_alpha", config.laplace_alpha},
          {"load_balance_coef", config.load_balance_coef},
          {"capacity_factor", config.capacity_factor},
          {"noise_std", config.noise_std}};
}

}  // namespace nanochat
