// Builds a decoder from wherever its weights come.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "model/config.h"
#include "model/model.h"
#include "model/tensor_slots.h"
#include "model/weight_fill.h"

namespace nanochat {

// What is being built. `slots` belong to `config`; slot i is read as source.read(i, ...).
struct BuildRequest {
  std::string model_id;  // for messages
  const ModelConfig* config;
  std::span<const TensorSlot> slots;
  const WeightSource* source;
  ModelOptions options;
  std::atomic<uint64_t>* bytes_read;  // grows while the build goes on
  const char* stage = "load";         // of its progress
};

class ModelBuilder {
 public:
  // Takes the whole block, then fills it in one pass over the source. Throws model_validation_failed, what
  // the source throws, budget_exceeded, out_of_memory, cancelled; nothing stays allocated then.
  static std::shared_ptr<const Model> build(std::shared_ptr<Device> device, const BuildRequest& request,
                                            const Watch& watch);
};

// The tables of Weights, on the device.
void fill_rope_tables(Device& device, const ModelConfig& config, const Weights& weights, const Watch& watch);

}  // namespace nanochat
