#include "io/gguf_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/checked.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written from memory");

constexpr uint32_t kVersion = 3;
constexpr size_t kMaxKeyBytes = 65535;

// Numbers of the format.
enum ValueType : uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10
};
enum TensorType : uint32_t { kF32 = 0, kF16 = 1, kBf16 = 30 };

template <class... A>
[[noreturn]] void refuse(const std::string& path, std::string_view pattern, const A&... arguments) {
  throw Error(Status::invalid_argument).subject(path).say("{}: {}", path, format_text(pattern, arguments...));
}

template <class T>
constexpr ValueType value_type() {
  if constexpr (std::is_same_v<T, uint32_t>) return kUint32;
  if constexpr (std::is_same_v<T, uint64_t>) return kUint64;
  if constexpr (std::is_same_v<T, int32_t>) return kInt32;
  if constexpr (std::is_same_v<T, float>) return kFloat32;
  if constexpr (std::is_same_v<T, bool>) return kBool;
  return kString;
}

// The part before the data, as bytes.
class Head {
 public:
  explicit Head(const std::string& path) : path_(path) {}

  template <class T>
  requires std::is_arithmetic_v<T>
  void put(T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    bytes_.append(bytes, sizeof bytes);
  }
  void put(std::string_view text) {
    put(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  void entry(const GgufEntry& entry) {
    put(std::string_view(entry.key));
    std::visit([&](const auto& value) { value_of(entry.key, value); }, entry.value);
  }
  void align() { bytes_.resize(round_up<size_t>(bytes_.size(), kGgufAlignment), '\0'); }
  const std::string& bytes() const { return bytes_; }

 private:
  template <class T>
  void value_of(const std::string& key, const T& value) {
    put(static_cast<uint32_t>(value_type<T>()));
    element(key, value);
  }
  template <class T>
  void value_of(const std::string& key, const std::vector<T>& list) {
    put(static_cast<uint32_t>(kArray));
    put(static_cast<uint32_t>(value_type<T>()));
    put(static_cast<uint64_t>(list.size()));
    for (const T& value : list) element(key, value);
  }
  void element(const std::string& key, const std::string& text) {
    if (!is_valid_utf8(text)) refuse(path_, "metadata '{}': '{}' is not UTF-8", key, excerpt(text));
    put(std::string_view(text));
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  void element(const std::string&, T value) { put(value); }

  const std::string& path_;
  std::string bytes_;
};

TensorType tensor_type(const std::string& path, const GgufTensor& tensor) {
  switch (tensor.dtype) {
    case DType::f32:
      return kF32;
    case DType::f16:
      return kF16;
    case DType::bf16:
      return kBf16;
    default:
      refuse(path, "tensor '{}': dtype {}, possible are F32, F16 and BF16", excerpt(tensor.name),
             dtype_name(tensor.dtype));
  }
}

uint64_t tensor_bytes(const std::string& path, const GgufTensor& tensor) {
  uint64_t n_elements = 0, n_bytes = 0;
  const bool fits = !tensor.shape.empty() && tensor.shape.size() <= kGgufMaxRank &&
                    checked_element_count(tensor.shape, n_elements) && n_elements > 0 &&
                    checked_multiply(n_elements, static_cast<uint64_t>(dtype_size(tensor.dtype)), n_bytes) &&
                    n_bytes <= uint64_t{INT64_MAX} - kGgufAlignment;
  if (!fits) {
    refuse(path, "tensor '{}': shape {} cannot be stored (rank 1 to {}, at least one element)",
           excerpt(tensor.name), tensor.shape, kGgufMaxRank);
  }
  return n_bytes;
}

void check_distinct(const std::string& path, const char* what, std::vector<std::string_view> names,
                    size_t max_bytes) {
  for (const std::string_view name : names) {
    if (name.empty() || name.size() > max_bytes || !is_valid_utf8(name) ||
        name.find('\0') != std::string_view::npos) {
      refuse(path, "{} '{}' of {} bytes cannot be stored (UTF-8 without NUL, 1 to {} bytes)", what,
             excerpt(name), name.size(), max_bytes);
    }
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) refuse(path, "{} '{}' is declared twice", what, excerpt(*twice));
}

void check_names(const std::string& path, std::span<const GgufEntry> metadata,
                 std::span<const GgufTensor> tensors) {
  std::vector<std::string_view> keys, names;
  for (const GgufEntry& entry : metadata) keys.push_back(entry.key);
  for (const GgufTensor& tensor : tensors) names.push_back(tensor.name);
  check_distinct(path, "metadata key", std::move(keys), kMaxKeyBytes);
  check_distinct(path, "tensor", std::move(names), kGgufMaxNameBytes);
}

}  // namespace

GgufWriter::GgufWriter(const std::string& path, std::span<const GgufEntry> metadata,
                       std::vector<GgufTensor> tensors)
    : file_(path), tensors_(std::move(tensors)) {
  check_names(path, metadata, tensors_);
  Head head(path);
  for (const char letter : {'G', 'G', 'U', 'F'}) head.put(letter);
  head.put(kVersion);
  head.put(static_cast<uint64_t>(tensors_.size()));
  head.put(static_cast<uint64_t>(metadata.size()));
  for (const GgufEntry& entry : metadata) head.entry(entry);
  uint64_t offset = 0;
  for (GgufTensor& tensor : tensors_) {
    tensor.n_bytes = tensor_bytes(path, tensor);
    tensor.offset = offset;
    head.put(std::string_view(tensor.name));
    head.put(static_cast<uint32_t>(tensor.shape.size()));
    for (auto dimension = tensor.shape.rbegin(); dimension != tensor.shape.rend(); ++dimension) {
      head.put(static_cast<uint64_t>(*dimension));
    }
    head.put(static_cast<uint32_t>(tensor_type(path, tensor)));
    head.put(tensor.offset);
    if (!checked_add(offset, round_up(tensor.n_bytes, kGgufAlignment), offset)) {
      refuse(path, "tensor '{}': {} bytes after {} overflow", tensor.name, tensor.n_bytes, tensor.offset);
    }
    data_bytes_ += tensor.n_bytes;
  }
  head.align();
  file_.write(head.bytes());
}

void GgufWriter::pad() {
  constexpr std::array<std::byte, kGgufAlignment> kZeros{};
  const uint64_t n_bytes = tensors_[current_].n_bytes;
  file_.write(std::span(kZeros).first(static_cast<size_t>(round_up(n_bytes, kGgufAlignment) - n_bytes)));
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (current_ == tensors_.size()) {
      throw_internal(format_text("GGUF writer: {} bytes after the last tensor", bytes.size()));
    }
    const uint64_t left = tensors_[current_].n_bytes - written_of_it_;
    const auto piece = bytes.first(static_cast<size_t>(std::min<uint64_t>(left, bytes.size())));
    file_.write(piece);
    bytes = bytes.subspan(piece.size());
    written_of_it_ += piece.size();
    if (piece.size() < left) return;
    pad();
    ++current_;
    written_of_it_ = 0;
  }
}

void GgufWriter::commit() {
  if (current_ != tensors_.size()) {
    throw_internal(format_text("GGUF writer: {} of {} bytes of tensor '{}' written", written_of_it_,
                               tensors_[current_].n_bytes, tensors_[current_].name));
  }
  file_.commit();
}

}  // namespace nanochat
