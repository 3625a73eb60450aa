// safetensors: 8-byte little-endian header length, JSON header, raw little-endian data without holes.
// Format: github.com/huggingface/safetensors (README, section Format). Every malformed file is refused before
// any tensor is touched, with an error (format_invalid) that names file, tensor, offset and both values.
//
// Where the format leaves room, this reader decides:
// - the header starts with '{' and only spaces may follow its '}'; duplicate names are refused;
// - names are not empty and hold no NUL; a rank is at most kMaxTensorRank; the product of the non-zero
//   dimensions times the element size stays below 2^63, so that no partial product of a shape overflows;
// - other keys of a tensor's entry are ignored, as the reference implementation does;
// - element types of the format that DType lacks (F4, F6_E2M3, C64, ...) give format_unsupported;
// - data need not be aligned to its element size: the format does not promise it, and old files are not.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tensor/tensor_view.h"

namespace nanochat {

inline constexpr size_t kMaxTensorRank = 8;

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t n_bytes = 0;
};

// A checked header and a mapping of the file. Immutable; share freely between threads.
class SafetensorsFile {
 public:
  static constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in file order
  const TensorInfo* find(std::string_view name) const;                 // nullptr if absent
  TensorView view(const TensorInfo& info) const;                       // into the mapping; see is_aligned()
  // Whether the data may be read through a pointer to its element type. If not: memcpy.
  bool is_aligned(const TensorInfo& info) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

// The header's checks alone, on any bytes: `header` is the JSON text, `data_bytes` what follows it. The
// tensors come in the order of their data, their offsets relative to it. For SafetensorsFile and the fuzzer.
void parse_safetensors_header(std::string_view header, uint64_t data_bytes, std::string_view file_name,
                              std::vector<TensorInfo>& tensors, std::map<std::string, std::string>& metadata);

// Writes one file crash-safely: declare every tensor, then stream the data in the same order, then commit.
// The data starts at a multiple of 8; tensors follow one another without padding (the format has none), so
// declare wide element types before narrow ones where readers should find them aligned. A tensor that the
// reader would refuse (name, shape, duplicate) is invalid_argument. Nothing is left behind without commit().
class SafetensorsWriter {
 public:
  SafetensorsWriter(
      const std::string& path, std::vector<TensorInfo> tensors,
      const std::map<std::string, std::string>& metadata = {});  // fills offset and n_bytes itself
  void write(std::span<const std::byte> bytes);                  // any pieces; the order of `tensors`
  void commit();                                                 // throws internal if bytes are missing

 private:
  AtomicFile file_;
  uint64_t expected_bytes_ = 0;  // header and data
};

}  // namespace nanochat
