// The tensors of model directories as a source of weights, and the words for what is wrong with them.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/model_directory.h"
#include "model/tensor_spec.h"
#include "model/weight_fill.h"

namespace nanochat {

// A tensor that is looked for. Both are outlived by what they point to.
struct WantedTensor {
  const ModelDirectory* directory;
  const TensorSpec* tensor;
  bool is_embedding = false;  // its width tells that config.json and weights are of different models
  bool may_be_int8 = false;   // config.json says so
  bool may_be_fp8 = false;    // F8_E4M3 with a scale of each row
};

// What was found, by the number of the wanted tensor. Nothing of the weights has been read.
struct FoundTensors {
  std::vector<ModelDirectory::Entry> entries;
  std::vector<DType> stored;
  std::vector<ModelDirectory::Entry> scales;  // of those stored as I8 or F8_E4M3; else without a file
  uint64_t scale_bytes() const;
};

// Checks every name, shape and dtype. Throws format_invalid, format_unsupported, model_dimension_mismatch.
FoundTensors find_tensors(std::span<const WantedTensor> wanted, const std::string& model_id);

std::string scale_name(const TensorSpec& tensor);

class DirectorySource final : public WeightSource {
 public:
  // Reads the scales.
  DirectorySource(std::span<const WantedTensor> wanted, const FoundTensors& found,
                  const std::string& model_id);

  DType dtype(size_t slot) const override { return found_.stored[slot]; }
  uint64_t position(size_t slot) const override { return positions_[slot]; }
  std::span<const float> scales(size_t slot) const override { return scales_[slot]; }
  uint64_t scale_bytes() const override { return found_.scale_bytes(); }
  std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                  std::vector<std::byte>& buffer) const override;

 private:
  std::span<const WantedTensor> wanted_;
  const FoundTensors& found_;
  std::vector<std::vector<float>> scales_;
  std::vector<uint64_t> positions_;  // of tensor i, over all files
};

std::string model_id_of(std::string_view path);  // the directory's name
inline std::string model_id_of(std::string_view path, const std::string& given) {
  return given.empty() ? model_id_of(path) : given;
}

// Throws `error`, or what it is called in the exit-code table: model_file_missing, model_load_failed.
[[noreturn]] void throw_load_failure(const Error& error, const std::string& path, const std::string& model_id,
                                     uint64_t bytes_read);

// Runs a load and turns what it throws into the errors of the exit-code table.
template <class F>
auto told_as_load_failure(const std::string& path, const std::string& model_id,
                          const std::atomic<uint64_t>& bytes_read, const F& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw_load_failure(error, path, model_id, bytes_read.load());
  }
}

}  // namespace nanochat
