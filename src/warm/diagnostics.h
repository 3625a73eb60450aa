// What is written down when a start fails, for whoever reads it later.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "warm/fleet.h"

namespace nanochat {

// One JSON object: "summary" (for people) first, "schema", "timestamp", "error", "gpu_state",
// "model_progress", "configuration", "allocation_history" (the last 100), "system_info". `error` may be
// nullptr: a dump on request. Secrets are masked.
Json diagnostic_dump(const Fleet& fleet, const Error* error);

// The same of a start that failed before there was a fleet: without components.
Json diagnostic_dump(const Device& device, const WarmConfig& config, const Error& error);

struct DumpPlace {
  std::string path;     // where it was written; "": nowhere
  std::string failure;  // why not where it was meant to be, or ""
};

// folder/startup-failure-{timestamp}.dump, the folder made if need be, else
// /tmp/context-graph-dump-{timestamp}.json, which also says why ("dump_failure"). The timestamp is as in
// "20260103T120000.250Z"; a file that is there stays. folder "": nowhere. Throws diagnostic_dump_failed
// naming both paths and reasons.
DumpPlace write_dump(const Json& dump, const std::string& folder);

// What looks like a token, a key or a password, replaced by "***": words that begin as tokens of well-known
// services do, what follows "Bearer", the user and password of a URL, and the values of keys such as
// "password" or "api_key". In linear time.
std::string mask_secrets(std::string_view text);
Json mask_secrets_in(const Json& document);  // every string of it, and the strings under such keys

// "1.50GB", "512B": 2 decimals, steps of 1024.
std::string format_bytes(uint64_t bytes);

}  // namespace nanochat
