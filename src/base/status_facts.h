// What is to be said about a status without an error at hand: its names, and the exit code of a program.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"

namespace nanochat {

struct StatusFacts {
  Status status;
  const char* name;      // "FORMAT_INVALID"
  const char* code;      // "ERR-WARM-MODEL-MISSING": stable, for logs and alerts
  const char* category;  // "MODEL_FILE"
};

// Of a number that is no status: "UNKNOWN", "ERR-UNKNOWN", "UNKNOWN".
const StatusFacts& status_facts(Status status);
std::span<const StatusFacts> all_status_facts();  // by number

bool is_fatal(Status status);      // 101..110
int32_t exit_code(Status status);  // 0 of ok, a fatal status itself, 1 of all others

}  // namespace nanochat
