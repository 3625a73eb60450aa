// What a component of a fleet is doing, and how that may change.
#pragma once

#include <cstdint>
#include <string_view>

namespace nanochat {

// Pending -> loading -> validating -> warm; loading or validating -> failed. Warm and failed are final.
enum class WarmState : int32_t { pending = 0, loading = 1, validating = 2, warm = 3, failed = 4 };

std::string_view state_name(WarmState state);  // "pending", "loading", "validating", "warm", "failed"
bool may_follow(WarmState from, WarmState to);

}  // namespace nanochat
