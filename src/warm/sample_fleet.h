// A whole fleet in a few MB, to try warm loading with: the twelve embedders and their fusion, a sixteenth as
// wide as the real ones, with random weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/cancel.h"
#include "tensor/device.h"

namespace nanochat {

// Writes path/manifest.json and a folder for each component, named after its id, with config.json in Hugging
// Face's form, model.safetensors and a vocabulary; reference answers are recorded on `device`, which holds
// the fleet for a moment. Everything but these answers depends on `seed` alone. Throws file_io, cancelled,
// and what Fleet::warm() throws.
void write_sample_fleet(const std::shared_ptr<Device>& device, const std::string& path, uint64_t seed,
                        const Watch& watch);

}  // namespace nanochat
