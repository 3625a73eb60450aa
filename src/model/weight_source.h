// Where weights come from while a model is built: a directory, or random numbers.
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

namespace nanochat {

// Const functions are called by several threads at once.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual DType dtype(size_t slot) const = 0;  // f32, bf16 or f16; i8 for a matrix
  // Slots are read in ascending order of this number: the order of the file.
  virtual uint64_t position(size_t slot) const = 0;
  // Rows of the slot, aligned for its dtype; valid until `buffer` is used again.
  virtual std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                          std::vector<std::byte>& buffer) const = 0;
  // The scale of every row of an i8 slot: finite, not negative, and no value beyond fp32. Else empty.
  virtual std::span<const float> scales(size_t /*slot*/) const { return {}; }
  virtual uint64_t scale_bytes() const { return 0; }  // of all of them, as stored
};

// Makes `buffer` at least this long without clearing what it has.
std::span<std::byte> staging(std::vector<std::byte>& buffer, size_t n_bytes);

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

// Rows of a tensor that are read, hashed and packed together: 64 rows, or as many times that as make up 256
// KiB. Part of the definition of the checksum.
int64_t rows_per_chunk(const TensorSlot& slot, DType dtype);

// Index of the first of n values (f32, bf16) that is not finite, or -1.
int64_t find_not_finite_value(const std::byte* values, DType dtype, int64_t n);

// Converts n values (f32, bf16, f16) to f32 or bf16. Returns the index of the first that is not finite, or
// -1.
int64_t convert_values(const std::byte* source, DType source_dtype, std::byte* target, DType target_dtype,
                       int64_t n);

// The tables of Weights, on the device.
void fill_rope_tables(Device& device, const ModelConfig& config, const Weights& weights, const Watch& watch);

}  // namespace nanochat
