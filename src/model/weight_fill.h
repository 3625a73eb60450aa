// How weights get from where they are stored to where a model keeps them, whatever the model is: tensors in
// chunks of rows, each read once, hashed, scanned and converted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/hash.h"
#include "model/tensor_spec.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat {

// A directory, random numbers, another model. Const functions are called by several threads at once.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual DType dtype(size_t slot) const = 0;  // f32, bf16 or f16; i8, f8_e4m3 for a matrix
  // Slots are read in ascending order of this number: the order of the file.
  virtual uint64_t position(size_t slot) const = 0;
  // Rows of the slot, aligned for its dtype; valid until `buffer` is used again.
  virtual std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                          std::vector<std::byte>& buffer) const = 0;
  // The scale of every row of an i8 or f8_e4m3 slot: finite, not negative, and no value beyond fp32. Else
  // empty.
  virtual std::span<const float> scales(size_t /*slot*/) const { return {}; }
  virtual uint64_t scale_bytes() const { return 0; }  // of all of them, as stored
};

// Makes `buffer` at least this long without clearing what it has.
std::span<std::byte> staging(std::vector<std::byte>& buffer, size_t n_bytes);

// Where one stored tensor goes. What its kind does not need stays empty.
struct WeightTarget {
  const TensorSpec* tensor = nullptr;
  const PackedMatrix* matrix = nullptr;  // its rows become rows first_row.. of it
  int64_t first_row = 0;
  int64_t used_rows = 0;           // of a matrix; later rows are scanned, not kept
  void* data = nullptr;            // of a table or a vector (fp32), [n_rows, width], on the device
  DType table_dtype = DType::f32;  // f32 or bf16
  std::function<void(int64_t index, float value)> keep;  // scalars; called by several threads
};

struct FillRequest {
  std::string model_id;  // for messages
  std::span<const WeightTarget> targets;
  const WeightSource* source;         // slot i is targets[i]
  std::atomic<uint64_t>* bytes_read;  // grows while the filling goes on
  const char* stage = "load";         // of its progress
  WeightChecks checks = WeightChecks::all;
};

// Fills all targets. Returns the hash of the tensors' names, dtypes, shapes and stored bytes; zero without
// checks. Throws
// model_validation_failed (the first value that is not finite), what the source throws, cancelled.
Hash128 fill_weights(Device& device, const FillRequest& request, const Watch& watch);

// The one block of a model. Throws budget_exceeded or out_of_memory.
Block allocate_weights(Memory& memory, uint64_t n_bytes);

// Rows of a tensor that are read, hashed and packed together: 64 rows, or as many times that as make up 256
// KiB. Part of the definition of the checksum.
int64_t rows_per_chunk(const TensorSpec& tensor, DType dtype);

// Index of the first of n values (f32, bf16) that is not finite, or -1.
int64_t find_not_finite_value(const std::byte* values, DType dtype, int64_t n);

// Converts n values (f32, bf16, f16) to f32 or bf16. Returns the index of the first that is not finite, or
// -1.
int64_t convert_values(const std::byte* source, DType source_dtype, std::byte* target, DType target_dtype,
                       int64_t n);

}  // namespace nanochat
