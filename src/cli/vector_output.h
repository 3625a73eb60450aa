// Vectors on standard output or in a file: as numbers, as JSON, as NumPy's .npy.
#pragma once

#include <nanochat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "stream.h"

namespace nanochat::cli {

enum class VectorForm { numbers, json, npy };

// Inputs in order, in as many embeddings as there are. Nothing but numbers and JSON is written before
// commit().
class VectorOutput {
 public:
  // `names`: of the inputs, for JSON; empty: their numbers.
  VectorOutput(const std::string& path, VectorForm form, std::vector<std::string> names);

  void append(const nanochat_embeddings* embeddings);
  void commit();

 private:
  void append_rows(const nanochat_embeddings* embeddings, size_t input);
  void append_json(const nanochat_embeddings* embeddings, size_t input);

  OutputFile file_;
  VectorForm form_;
  std::vector<std::string> names_;
  size_t n_inputs_ = 0, n_rows_ = 0, width_ = 0;
  std::string values_;  // of .npy, whose header has their number
};

}  // namespace nanochat::cli
