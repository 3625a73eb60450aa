// Known answers: what a fleet that is trusted gives, written down for every later start.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "warm/fleet.h"

namespace nanochat {

// A reference file as TestSpec has it: "output" F32, and "input" where the manifest has no text or tokens.
struct ReferenceTensors {
  std::vector<float> output;
  std::vector<float> input;  // empty: none
  std::vector<int64_t> input_shape;
};
void write_reference(const std::string& path, const ReferenceTensors& tensors);

// Runs the test of every component and writes its answer to folder/<id>.safetensors ("": the folder "reference" beside the manifest). Returns the manifest's text with those files, checksums, bytes and
// dimensions in it; the manifest itself stays as it is. Throws invalid_state (not warm), file_io, cancelled.
std::string record_fleet(const Fleet& fleet, const std::string& folder, const Watch& watch);

}  // namespace nanochat
