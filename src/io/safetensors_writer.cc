#include <algorithm>
#include <limits>

#include "base/checked.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "io/safetensors.h"

namespace nanochat {

namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kHeaderAlignment = 8;  // the reference implementation's

[[noreturn]] void refuse(const std::string& path, std::string_view reason) {
  throw Error(Status::invalid_argument).subject(path).say("{}: {}", path, reason);
}

void check_text(const std::string& path, std::string_view what, const std::string& text) {
  if (!is_valid_utf8(text)) refuse(path, format_text("{} '{}' is not UTF-8", what, excerpt(text)));
}

uint64_t tensor_bytes(const std::string& path, const TensorInfo& tensor) {
  constexpr uint64_t kMaxBytes = std::numeric_limits<int64_t>::max();
  auto bytes = static_cast<uint64_t>(dtype_size(tensor.dtype));
  bool empty = false;
  bool fits = tensor.shape.size() <= kMaxTensorRank;
  for (const int64_t dimension : tensor.shape) {
    empty = empty || dimension == 0;
    const auto factor = static_cast<uint64_t>(std::max<int64_t>(dimension, 1));
    fits = fits && dimension >= 0 && checked_multiply(bytes, factor, bytes) && bytes <= kMaxBytes;
  }
  if (!fits) {
    refuse(
        path,
        format_text("tensor '{}': shape {} of {} cannot be stored (rank at most {}, bytes at most {})",
                    excerpt(tensor.name), tensor.shape, dtype_name(tensor.dtype), kMaxTensorRank, kMaxBytes));
  }
  return empty ? 0 : bytes;
}

void check_names(const std::string& path, const std::vector<TensorInfo>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) {
    check_text(path, "tensor name", tensor.name);
    if (tensor.name.empty() || tensor.name == "__metadata__" || tensor.name.find('\0') != std::string::npos) {
      refuse(path, format_text("tensor name '{}' cannot be stored", excerpt(tensor.name)));
    }
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) refuse(path, format_text("tensor '{}' is declared twice", excerpt(*twice)));
}

std::string metadata_entry(const std::string& path, const std::map<std::string, std::string>& metadata) {
  std::string out = "\"__metadata__\":{";
  for (const auto& [key, value] : metadata) {
    check_text(path, "metadata key", key);
    check_text(path, "metadata value", value);
    if (out.back() != '{') out += ',';
    out += quote_json(key) + ':' + quote_json(value);
  }
  return out += '}';
}

std::string tensor_entry(const TensorInfo& tensor, uint64_t offset) {
  return format_text("{}:{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}", quote_json(tensor.name),
                     dtype_name(tensor.dtype), tensor.shape, offset, offset + tensor.n_bytes);
}

std::string little_endian(uint64_t value) {
  std::string out(kLengthBytes, '\0');
  for (size_t i = 0; i < kLengthBytes; ++i) out[i] = static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  check_names(path, tensors);
  std::string header = "{";
  if (!metadata.empty()) header += metadata_entry(path, metadata);
  uint64_t data_bytes = 0;
  for (TensorInfo& tensor : tensors) {
    tensor.n_bytes = tensor_bytes(path, tensor);
    uint64_t end = 0;
    if (!checked_add(data_bytes, tensor.n_bytes, end)) {
      refuse(path, format_text("tensor '{}': {} bytes after {} overflow", excerpt(tensor.name),
                               tensor.n_bytes, data_bytes));
    }
    if (header.size() > 1) header += ',';
    header += tensor_entry(tensor, data_bytes);
    data_bytes = end;
  }
  header += '}';
  header.append(round_up<size_t>(header.size(), kHeaderAlignment) - header.size(), ' ');
  if (header.size() > SafetensorsFile::kMaxHeaderBytes) {
    refuse(path, format_text("the header takes {} bytes, the limit is {}", header.size(),
                             SafetensorsFile::kMaxHeaderBytes));
  }
  if (!checked_add(kLengthBytes + header.size(), data_bytes, expected_bytes_)) {
    refuse(path, format_text("{} bytes of data overflow", data_bytes));
  }
  file_.write(little_endian(header.size()));
  file_.write(header);
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > expected_bytes_ - file_.size()) {
    throw_internal(format_text("safetensors writer: {} bytes more, but only {} were declared and are left",
                               bytes.size(), expected_bytes_ - file_.size()));
  }
  file_.write(bytes);
}

void SafetensorsWriter::commit() {
  if (file_.size() != expected_bytes_) {
    throw_internal(
        format_text("safetensors writer: {} bytes written, {} were declared", file_.size(), expected_bytes_));
  }
  file_.commit();
}

}  // namespace nanochat
