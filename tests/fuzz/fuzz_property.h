// What a fuzz target holds to be true: a breach ends the program, so that the fuzzer keeps the input.
#pragma once

#include <cstdlib>

#include "base/error.h"

namespace nanochat {

inline void require_property(bool holds) {
  if (!holds) std::abort();
}

// Input alone may only lead to these.
inline void require_refusal(const Error& error) {
  const Status status = error.status();
  require_property(status == Status::format_invalid || status == Status::format_unsupported ||
                   status == Status::out_of_range);
  require_property(!error.message().empty() && error.message().size() < 4000);
}

}  // namespace nanochat
