#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>

#include "base/checked.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxTensorBytes = std::numeric_limits<int64_t>::max();

// Types of the format that no kernel here reads.
constexpr std::array<std::string_view, 7> kForeignTypes = {"F4",          "F6_E2M3",     "F6_E3M2", "F8_E8M0",
                                                           "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

[[noreturn]] void refuse(std::string_view file, std::string_view reason) {
  throw Error(Status::format_invalid).subject(file).say("{}: {}", file, reason);
}

std::string show(const Json& value) { return excerpt(write_json(value)); }

std::string range(uint64_t begin, uint64_t end) { return format_text("[{},{})", begin, end); }

// One entry of the header, checked by itself.
class EntryReader {
 public:
  EntryReader(std::string_view file, std::string_view name, const Json& entry, uint64_t data_bytes)
      : file_(file), name_(name), entry_(entry), data_bytes_(data_bytes) {}

  TensorInfo read() const {
    check_name();
    if (!entry_.is_object()) fail(format_text("entry is {}, expected an object", show(entry_)));
    TensorInfo info;
    info.name = name_;
    info.dtype = read_dtype();
    info.shape = read_shape();
    const uint64_t expected = expected_bytes(info);
    read_offsets(info);
    if (info.n_bytes != expected) {
      fail(format_text("data_offsets {} hold {} bytes, but shape {} of {} needs {}",
                       range(info.offset, info.offset + info.n_bytes), info.n_bytes, info.shape,
                       dtype_name(info.dtype), expected));
    }
    return info;
  }

 private:
  [[noreturn]] void fail(std::string_view reason, Status status = Status::format_invalid) const {
    throw Error(status).subject(file_).say("{}: tensor '{}': {}", file_, excerpt(name_), reason);
  }

  void check_name() const {
    if (name_.empty()) fail("the name is empty");
    if (const size_t nul = name_.find('\0'); nul != std::string_view::npos) {
      fail(format_text("the name has a NUL at byte {} of {}", nul, name_.size()));
    }
  }

  const Json& member(const char* key) const {
    const Json* found = entry_.find(key);
    if (found == nullptr) fail(format_text("'{}' is missing in {}", key, show(entry_)));
    return *found;
  }

  DType read_dtype() const {
    const Json& value = member("dtype");
    if (!value.is_string()) fail(format_text("dtype is {}, expected a string", show(value)));
    const auto& text = value.get_ref<const std::string&>();
    DType dtype = DType::f32;
    if (dtype_from_name(text, dtype)) return dtype;
    if (std::find(kForeignTypes.begin(), kForeignTypes.end(), text) != kForeignTypes.end()) {
      fail(format_text("dtype '{}' is not supported", text), Status::format_unsupported);
    }
    fail(format_text("unknown dtype '{}'", excerpt(text)));
  }

  Shape read_shape() const {
    const Json& value = member("shape");
    if (!value.is_array()) fail(format_text("shape is {}, expected an array", show(value)));
    if (value.size() > kMaxTensorRank) {
      fail(format_text("shape has {} dimensions, at most {} are supported", value.size(), kMaxTensorRank));
    }
    Shape shape;
    shape.reserve(value.size());
    for (const Json& dimension : value) {
      if (!dimension.is_number_unsigned() || dimension.get<uint64_t>() > kMaxTensorBytes) {
        fail(format_text("dimension {} of shape {} is {}, expected an integer from 0 to {}", shape.size(),
                         show(value), show(dimension), kMaxTensorBytes));
      }
      shape.push_back(dimension.get<int64_t>());
    }
    return shape;
  }

  uint64_t expected_bytes(const TensorInfo& info) const {
    auto bytes = static_cast<uint64_t>(dtype_size(info.dtype));
    bool empty = false;
    for (const int64_t dimension : info.shape) {
      empty = empty || dimension == 0;
      const auto factor = static_cast<uint64_t>(std::max<int64_t>(dimension, 1));
      if (!checked_multiply(bytes, factor, bytes) || bytes > kMaxTensorBytes) {
        fail(format_text("shape {} of {} overflows {} bytes", info.shape, dtype_name(info.dtype),
                         kMaxTensorBytes));
      }
    }
    return empty ? 0 : bytes;
  }

  void read_offsets(TensorInfo& info) const {
    const Json& value = member("data_offsets");
    if (!value.is_array() || value.size() != 2 || !value[0].is_number_unsigned() ||
        !value[1].is_number_unsigned()) {
      fail(format_text("data_offsets is {}, expected two integers from 0 to {}", show(value), data_bytes_));
    }
    const auto begin = value[0].get<uint64_t>();
    const auto end = value[1].get<uint64_t>();
    if (begin > end) fail(format_text("data_offsets begin at {}, after their end {}", begin, end));
    if (end > data_bytes_) {
      fail(format_text("data_offsets {} reach past the {} bytes of data", range(begin, end), data_bytes_));
    }
    info.offset = begin;
    info.n_bytes = end - begin;
  }

  std::string_view file_, name_;
  const Json& entry_;
  uint64_t data_bytes_;
};

void read_metadata(std::string_view file, const Json& value, std::map<std::string, std::string>& metadata) {
  if (!value.is_object()) {
    refuse(file, format_text("__metadata__ is {}, expected an object of strings", show(value)));
  }
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      refuse(file, format_text("__metadata__ '{}' is {}, expected a string", excerpt(key), show(text)));
    }
    metadata.emplace(key, text.get_ref<const std::string&>());
  }
}

// The data is covered by the tensors exactly: none overlap, no byte is left over.
void check_layout(std::string_view file, uint64_t data_bytes, const std::vector<TensorInfo>& tensors) {
  uint64_t position = 0;
  const TensorInfo* previous = nullptr;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset < position) {
      refuse(file,
             format_text("tensor '{}': data begins at {}, inside tensor '{}' at {}", excerpt(tensor.name),
                         tensor.offset, excerpt(previous->name), range(previous->offset, position)));
    }
    if (tensor.offset > position) {
      refuse(file, format_text("tensor '{}': data begins at {}, but the data before it ends at {}",
                               excerpt(tensor.name), tensor.offset, position));
    }
    position += tensor.n_bytes;
    previous = &tensor;
  }
  if (position != data_bytes) {
    refuse(file,
           format_text("the tensors cover {} bytes of data, but the file holds {}", position, data_bytes));
  }
}

// What is before and after the braces; between them the JSON parser judges.
std::string_view trim_header(std::string_view header, std::string_view file) {
  if (header.empty() || header.front() != '{') {
    refuse(file, header.empty() ? "the header is empty, expected '{'"
                                : format_text("the header starts with '{}' at offset {}, expected '{'",
                                              excerpt(header.substr(0, 1)), kLengthBytes));
  }
  if (const size_t invalid = first_invalid_utf8(header); invalid != header.size()) {
    refuse(file, format_text("the header is not UTF-8 at offset {} (byte {})", kLengthBytes + invalid,
                             static_cast<int>(static_cast<unsigned char>(header[invalid]))));
  }
  header = header.substr(0, header.find_last_not_of(' ') + 1);
  const size_t brace = header.find_last_not_of(" \t\r\n");
  if (brace + 1 < header.size()) {
    refuse(file, format_text("'{}' at offset {} follows the header, only spaces may",
                             excerpt(header.substr(brace + 1, 1)), kLengthBytes + brace + 1));
  }
  return header;
}

uint64_t read_header_length(std::span<const std::byte> bytes, std::string_view file) {
  if (bytes.size() < kLengthBytes) {
    refuse(file, format_text("{} bytes, shorter than the {} bytes of the header length", bytes.size(),
                             kLengthBytes));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  if (length == 0) refuse(file, "header length 0 at offset 0, expected at least 2");
  if (length > SafetensorsFile::kMaxHeaderBytes) {
    refuse(file, format_text("header length {} at offset 0 is above the limit of {}", length,
                             SafetensorsFile::kMaxHeaderBytes));
  }
  if (length > bytes.size() - kLengthBytes) {
    refuse(file, format_text("header length {} at offset 0 reaches past the file of {} bytes", length,
                             bytes.size()));
  }
  return length;
}

}  // namespace

void parse_safetensors_header(std::string_view header, uint64_t data_bytes, std::string_view file_name,
                              std::vector<TensorInfo>& tensors,
                              std::map<std::string, std::string>& metadata) {
  tensors.clear();
  metadata.clear();
  const auto on_member = [&](const std::string& key, Json&& value) {
    if (key == "__metadata__") return read_metadata(file_name, value, metadata);
    tensors.push_back(EntryReader(file_name, key, value, data_bytes).read());
  };
  header = trim_header(header, file_name);
  try {
    parse_json_object(header, format_text("{}: header", file_name), on_member);
  } catch (Error& error) {
    error.subject(file_name);
    throw;
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset, a.n_bytes, a.name) < std::tie(b.offset, b.n_bytes, b.name);
  });
  check_layout(file_name, data_bytes, tensors);
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const uint64_t header_bytes = read_header_length(file_.bytes(), path);
  const uint64_t data_start = kLengthBytes + header_bytes;
  parse_safetensors_header(file_.text().substr(kLengthBytes, header_bytes), file_.bytes().size() - data_start,
                           path, tensors_, metadata_);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    tensors_[i].offset += data_start;
    index_.emplace(tensors_[i].name, i);
  }
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

TensorView SafetensorsFile::view(const TensorInfo& info) const {
  return {info.dtype, info.shape, file_.bytes().data() + info.offset};
}

bool SafetensorsFile::is_aligned(const TensorInfo& info) const {
  const auto address = reinterpret_cast<uintptr_t>(file_.bytes().data()) + info.offset;
  return address % static_cast<uintptr_t>(dtype_size(info.dtype)) == 0;
}

}  // namespace nanochat
