#include "warm/state.h"

namespace nanochat {

std::string_view state_name(WarmState state) {
  constexpr std::string_view kNames[] = {"pending", "loading", "validating", "warm", "failed"};
  return kNames[static_cast<size_t>(state)];
}

bool may_follow(WarmState from, WarmState to) {
  switch (to) {
    case WarmState::pending:
      return false;
    case WarmState::loading:
      return from == WarmState::pending;
    case WarmState::validating:
      return from == WarmState::loading;
    case WarmState::warm:
      return from == WarmState::validating;
    case WarmState::failed:
      return from == WarmState::loading || from == WarmState::validating;
  }
  return false;
}

}  // namespace nanochat
