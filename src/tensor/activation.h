// What a network does to single values between its matrices.
#pragma once

#include <cstdint>

namespace nanochat {

enum class RowActivation : int32_t {
  none,
  relu,        // max(x, 0)
  gelu,        // x times the normal distribution's share below x, (1 + erf(x / sqrt(2))) / 2
  gelu_tanh,   // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  quick_gelu,  // x sigmoid(1.702 x)
  silu,        // x sigmoid(x)
  tanh
};

}  // namespace nanochat
