#include "model/directory_source.h"

#include <algorithm>
#include <limits>

#include "base/excerpt.h"
#include "base/file.h"
#include "kernels/elements.h"

namespace nanochat {

namespace {

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16; }

void check_tensor(const ModelDirectory::Entry& entry, const WantedTensor& wanted,
                  const std::string& model_id) {
  const TensorInfo& info = *entry.info;
  const TensorSpec& tensor = *wanted.tensor;
  if (wanted.is_embedding && info.shape.size() == 2 && info.shape[1] != tensor.width()) {
    throw Error(Status::model_dimension_mismatch)
        .subject(tensor.name)
        .field("model_id", model_id)
        .field("expected", tensor.width())
        .field("actual", info.shape[1])
        .hint("use the config.json and the weights of the same model version")
        .say("Model dimension mismatch for {}: expected {}, got {}", model_id, tensor.width(), info.shape[1]);
  }
  const std::string& path = entry.file->path();
  if (info.shape != tensor.shape) {
    throw Error(Status::format_invalid)
        .subject(path)
        .say("{}: tensor '{}': shape {}, expected {}", path, tensor.name, info.shape, tensor.shape);
  }
  const bool may_be_i8 = tensor.kind == TensorKind::matrix;
  const bool may_be_f8 = may_be_i8 && wanted.may_be_fp8;
  const bool is_scaled =
      (may_be_i8 && info.dtype == DType::i8) || (may_be_f8 && info.dtype == DType::f8_e4m3);
  if (!is_float(info.dtype) && !is_scaled) {
    const char* const others = may_be_f8 ? ", F16, I8 or F8_E4M3" : may_be_i8 ? ", F16 or I8" : " or F16";
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: tensor '{}': dtype {}, expected F32, BF16{}", path, tensor.name, dtype_name(info.dtype),
             others);
  }
}

// The scales of a tensor of I8 or F8_E4M3; the tensors of other types must have none.
ModelDirectory::Entry find_scales(const WantedTensor& wanted, const ModelDirectory::Entry& weights) {
  const TensorSpec& tensor = *wanted.tensor;
  const ModelDirectory& directory = *wanted.directory;
  const std::string name = scale_name(tensor);
  const std::string& path = weights.file->path();
  const DType dtype = weights.info->dtype;
  const bool is_scaled = has_scales(dtype);
  const auto refuse = [&](std::string_view reason) {
    throw Error(Status::format_invalid).subject(path).say("{}: {}", path, reason);
  };
  if (!is_scaled && directory.contains(name)) {
    refuse(format_text("tensor '{}': scales of '{}', which is {}, expected I8", name, tensor.name,
                       dtype_name(dtype)));
  }
  if (!is_scaled) return {nullptr, nullptr};
  if (dtype == DType::i8 && !wanted.may_be_int8) {
    refuse(format_text("tensor '{}': dtype I8, but config.json has no quantization_config", tensor.name));
  }
  if (!directory.contains(name)) {
    refuse(format_text("tensor '{}': dtype {}, but its scales '{}' are missing", tensor.name,
                       dtype_name(dtype), name));
  }
  const ModelDirectory::Entry scales = directory.find(name);
  const Shape expected{tensor.n_rows(), 1};
  if (scales.info->shape != expected || !is_float(scales.info->dtype)) {
    refuse(format_text("tensor '{}': shape {} of {}, expected {} of F32, BF16 or F16", name,
                       scales.info->shape, dtype_name(scales.info->dtype), expected));
  }
  return scales;
}

// Scales as fp32. One that is not finite or negative, or that makes a value so, is refused.
std::vector<float> read_scales(const ModelDirectory::Entry& entry, DType weights_dtype,
                               const std::string& model_id) {
  const TensorInfo& info = *entry.info;
  std::vector<std::byte> bytes(info.n_bytes);
  entry.file->file().read_at(info.offset, bytes);
  std::vector<float> scales(static_cast<size_t>(info.shape[0]));
  convert_values(bytes.data(), info.dtype, reinterpret_cast<std::byte*>(scales.data()), DType::f32,
                 info.shape[0]);
  const float largest = std::numeric_limits<float>::max() / (weights_dtype == DType::i8 ? 128.0F : 448.0F);
  for (size_t i = 0; i < scales.size(); ++i) {
    if (scales[i] >= 0.0F && scales[i] <= largest) continue;
    const std::string reason = format_text("tensor '{}': element {} of {} is {}, expected 0 to {}", info.name,
                                           i, scales.size(), scales[i], largest);
    throw Error(Status::model_validation_failed)
        .subject(info.name)
        .field("model_id", model_id)
        .field("reason", reason)
        .field("tensor", info.name)
        .field("index", static_cast<uint64_t>(i))
        .hint("obtain an undamaged model file")
        .say("Model validation failed for {}: {}", model_id, reason);
  }
  return scales;
}

uint64_t weights_file_size(const std::string& path) {
  for (const char* name : {"model.safetensors", "weights.safetensors"}) {
    try {
      return MappedFile(join_path(path, name)).bytes().size();
    } catch (const Error&) {
      continue;
    }
  }
  return 0;
}

bool passes_through(Status status) {
  switch (status) {
    case Status::out_of_memory:
    case Status::budget_exceeded:
    case Status::working_memory_exhausted:
    case Status::cancelled:
    case Status::internal:
    case Status::thread_failed:
      return true;
    default:
      return static_cast<int32_t>(status) >= static_cast<int32_t>(Status::model_file_missing);
  }
}

}  // namespace

std::string scale_name(const TensorSpec& tensor) { return tensor.name + "_scale"; }

uint64_t FoundTensors::scale_bytes() const {
  uint64_t n_bytes = 0;
  for (const ModelDirectory::Entry& entry : scales) {
    if (entry.file != nullptr) n_bytes += entry.info->n_bytes;
  }
  return n_bytes;
}

FoundTensors find_tensors(std::span<const WantedTensor> wanted, const std::string& model_id) {
  FoundTensors found;
  for (const WantedTensor& one : wanted) {
    const ModelDirectory::Entry entry = one.directory->find(one.tensor->name);
    check_tensor(entry, one, model_id);
    found.entries.push_back(entry);
    found.stored.push_back(entry.info->dtype);
    found.scales.push_back(find_scales(one, entry));
  }
  return found;
}

DirectorySource::DirectorySource(std::span<const WantedTensor> wanted, const FoundTensors& found,
                                 const std::string& model_id)
    : wanted_(wanted), found_(found) {
  for (size_t i = 0; i < found.scales.size(); ++i) {
    const ModelDirectory::Entry& entry = found.scales[i];
    scales_.push_back(entry.file == nullptr ? std::vector<float>()
                                            : read_scales(entry, found.stored[i], model_id));
  }
  std::vector<const SafetensorsFile*> files;
  for (const ModelDirectory::Entry& entry : found.entries) files.push_back(entry.file);
  std::sort(files.begin(), files.end(), [](auto* a, auto* b) { return a->path() < b->path(); });
  files.erase(std::unique(files.begin(), files.end()), files.end());
  positions_.resize(found.entries.size());
  uint64_t start = 0;
  for (const SafetensorsFile* file : files) {
    for (size_t i = 0; i < positions_.size(); ++i) {
      if (found.entries[i].file == file) positions_[i] = start + found.entries[i].info->offset;
    }
    start += file->file().bytes().size();
  }
}

// From the mapping, which is the faster way; from the file where the mapping is not aligned.
std::span<const std::byte> DirectorySource::read(size_t slot, int64_t first_row, int64_t n_rows,
                                                 std::vector<std::byte>& buffer) const {
  const ModelDirectory::Entry& entry = found_.entries[slot];
  const auto row_bytes = static_cast<uint64_t>(wanted_[slot].tensor->width() * dtype_size(dtype(slot)));
  const uint64_t offset = entry.info->offset + static_cast<uint64_t>(first_row) * row_bytes;
  const uint64_t n_bytes = static_cast<uint64_t>(n_rows) * row_bytes;
  const MappedFile& file = entry.file->file();
  if (entry.file->is_aligned(*entry.info)) return file.bytes().subspan(offset, n_bytes);
  const auto bytes = staging(buffer, n_bytes);
  file.read_at(offset, bytes);
  return bytes;
}

std::string model_id_of(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return file_name(path);
}

void throw_load_failure(const Error& error, const std::string& path, const std::string& model_id,
                        uint64_t bytes_read) {
  if (passes_through(error.status())) throw error;
  if (error.status() == Status::file_not_found) {
    throw Error(Status::model_file_missing)
        .subject(path)
        .field("model_id", model_id)
        .field("path", error.subject().empty() ? path : error.subject())
        .hint("check the path and the configuration")
        .cause(error)
        .say("Model file missing: {} not found at {}", model_id,
             error.subject().empty() ? path : error.subject());
  }
  throw Error(Status::model_load_failed)
      .subject(error.subject().empty() ? path : error.subject())
      .field("model_id", model_id)
      .field("reason", error.message())
      .field("bytes_read", bytes_read)
      .field("file_size", weights_file_size(path))
      .os_code(error.os_code())
      .hint("check the files' permissions and integrity, or obtain them again")
      .cause(error)
      .say("Model load failed for {}: {}", model_id, error.message());
}

}  // namespace nanochat
