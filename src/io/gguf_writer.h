// GGUF version 3, little-endian: what llama.cpp and its relatives read. Header, metadata, tensor list, then
// the tensors' bytes, each at a multiple of kGgufAlignment.
// Format: github.com/ggml-org/ggml, docs/gguf.md.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/file.h"
#include "tensor/tensor_view.h"

namespace nanochat {

inline constexpr uint64_t kGgufAlignment = 32;
inline constexpr size_t kGgufMaxRank = 4;
inline constexpr size_t kGgufMaxNameBytes = 63;  // of a tensor, as llama.cpp has it

// Strings are UTF-8. Arrays are of one element type each.
using GgufValue = std::variant<uint32_t, uint64_t, int32_t, float, bool, std::string,
                               std::vector<std::string>, std::vector<float>, std::vector<int32_t>>;

struct GgufEntry {
  std::string key;
  GgufValue value;
};

// Shape as everywhere here, the fastest dimension last; the file has it the other way round.
struct GgufTensor {
  std::string name;
  DType dtype = DType::f32;  // f32, f16 or bf16
  Shape shape;
  uint64_t offset = 0;   // from the start of the data; filled in by the writer
  uint64_t n_bytes = 0;  // without padding; filled in by the writer
};

// Writes one file crash-safely: declare everything, then stream the tensors' bytes in the order of the list
// (the writer puts the padding between them), then commit. What readers would refuse (a key or name twice, no
// UTF-8, an odd shape) is invalid_argument. Nothing is left behind without commit().
class GgufWriter {
 public:
  GgufWriter(const std::string& path, std::span<const GgufEntry> metadata, std::vector<GgufTensor> tensors);
  void write(std::span<const std::byte> bytes);        // any pieces
  void commit();                                       // throws internal if bytes are missing
  uint64_t data_bytes() const { return data_bytes_; }  // of all tensors, without padding

 private:
  void pad();

  AtomicFile file_;
  std::vector<GgufTensor> tensors_;
  size_t current_ = 0;          // the tensor that is being written
  uint64_t written_of_it_ = 0;  // of its bytes
  uint64_t data_bytes_ = 0;
};

}  // namespace nanochat
