// The shape and the switches of a FuseMoE layer, and their place in config.json.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"

namespace nanochat {

struct FuseMoeConfig {
  int64_t n_experts = 8;
  int64_t top_k = 4;
  int64_t input_dim = 8320;
  int64_t expert_hidden_dim = 4096;
  int64_t output_dim = 1536;
  double temperature = 1.0;
  double laplace_alpha = 0.01;
  double load_balance_coef = 0.01;  // the last three matter to training alone
  double capacity_factor = 1.25;
  double noise_std = 0.0;

  static FuseMoeConfig for_inference();  // noise 0, load balance 0
  static FuseMoeConfig for_training();   // noise 0.1, load balance 0.01

  // Throws config_invalid naming the field, its value and what is expected.
  void validate() const;

  bool operator==(const FuseMoeConfig&) const = default;
};

FuseMoeConfig parse_fuse_moe_config(const Json& document, std::string_view file_name);
Json fuse_moe_config_json(const FuseMoeConfig& config);

}  // namespace nanochat
