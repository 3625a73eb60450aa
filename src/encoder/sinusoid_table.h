// See sinusoid_table.cc.
#pragma once

#include <array>
#include <cstdint>

namespace nanochat {

extern const std::array<uint64_t, 256> kSinusoidFrequencies;

}  // namespace nanochat
