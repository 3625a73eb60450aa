// The options that say which fleet runs how, and what they open.
#pragma once

#include <nanochat.h>

#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

#include "model_choice.h"
#include "owned_handles.h"

namespace nanochat::cli {

struct FleetChoice {
  ModelChoice machine;  // device, threads, progress, log
  std::string manifest;
  std::string quantization, weights_path, dump_path;  // empty: as the environment or the manifest says
  std::string budget, headroom;                       // the same; bytes
  int32_t parallel_loads = 0;
  uint64_t max_load_ms = 0;
  bool no_dump = false, no_test = false;
};

// --manifest and all that nanochat_warm_options has.
void add_fleet_options(CLI::App& command, FleetChoice& choice);

// From the environment, then the options. Its texts live as long as `choice` and the environment.
nanochat_warm_options warm_options(const FleetChoice& choice);

// Opens and warms, with progress; a failed start ends with the exit code of its status, and its dump goes to
// standard error if no file could take it.
Registry warm_up(const Runtime& runtime, const FleetChoice& choice, nanochat_warm_options options);

}  // namespace nanochat::cli
