// FuseMoE::load and FuseMoE::plan of a directory; failures are told in the words of the exit-code table.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "encoder/fuse_moe_weights.h"
#include "io/model_directory.h"

namespace nanochat {

namespace {

std::string model_id_of(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return file_name(path);
}

std::string scale_name(const FuseMoeSlot& slot) { return slot.name + "_scale"; }

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16; }

// A directory whose every tensor has the name, dtype and shape that its configuration asks for.
struct CheckedDirectory {
  ModelDirectory directory;
  FuseMoeConfig config;
  std::vector<FuseMoeSlot> slots;
  std::vector<DType> stored;                  // of slots[i]
  std::vector<ModelDirectory::Entry> scales;  // of slots[i], if that is I8; else without a file
};

void check_tensor(const ModelDirectory::Entry& entry, const FuseMoeSlot& slot) {
  const TensorInfo& info = *entry.info;
  const std::string& path = entry.file->path();
  if (info.shape != slot.shape) {
    throw Error(Status::format_invalid)
        .subject(path)
        .say("{}: tensor '{}': shape {}, expected {}", path, slot.name, info.shape, slot.shape);
  }
  const bool may_be_i8 = slot.is_matrix() && slot.expert >= 0;
  if (is_float(info.dtype) || (may_be_i8 && info.dtype == DType::i8)) return;
  throw Error(Status::format_unsupported)
      .subject(path)
      .say("{}: tensor '{}': dtype {}, expected F32, BF16{} F16{}", path, slot.name, dtype_name(info.dtype),
           may_be_i8 ? "," : " or", may_be_i8 ? " or I8" : "");
}

ModelDirectory::Entry find_scales(const ModelDirectory& directory, const FuseMoeSlot& slot,
                                  const ModelDirectory::Entry& weights) {
  if (weights.info->dtype != DType::i8) return {nullptr, nullptr};
  const std::string name = scale_name(slot);
  const std::string& path = weights.file->path();
  if (!directory.contains(name)) {
    throw Error(Status::format_invalid)
        .subject(path)
        .say("{}: tensor '{}': dtype I8, but its scales '{}' are missing", path, slot.name, name);
  }
  const ModelDirectory::Entry scales = directory.find(name);
  const Shape expected{slot.n_rows(), 1};
  if (scales.info->shape != expected || !is_float(scales.info->dtype)) {
    throw Error(Status::format_invalid)
        .subject(path)
        .say("{}: tensor '{}': shape {} of {}, expected {} of F32, BF16 or F16", path, name,
             scales.info->shape, dtype_name(scales.info->dtype), expected);
  }
  return scales;
}

void refuse_unknown_tensors(const CheckedDirectory& opened) {
  std::vector<std::string> known;
  for (size_t i = 0; i < opened.slots.size(); ++i) {
    known.push_back(opened.slots[i].name);
    if (opened.scales[i].file != nullptr) known.push_back(scale_name(opened.slots[i]));
  }
  std::sort(known.begin(), known.end());
  for (const std::string& name : opened.directory.names()) {
    if (std::binary_search(known.begin(), known.end(), name)) continue;
    const std::string& path = opened.directory.find(name).file->path();
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: tensor '{}' has no place in a FuseMoE layer of {} experts", path, excerpt(name),
             opened.config.n_experts);
  }
}

CheckedDirectory open_directory(const std::string& path) {
  CheckedDirectory opened{ModelDirectory(path), {}, {}, {}, {}};
  opened.config = parse_fuse_moe_config(opened.directory.config(), opened.directory.config_path());
  opened.slots = fuse_moe_slots(opened.config);
  for (const FuseMoeSlot& slot : opened.slots) {
    const ModelDirectory::Entry entry = opened.directory.find(slot.name);
    check_tensor(entry, slot);
    opened.stored.push_back(entry.info->dtype);
    opened.scales.push_back(find_scales(opened.directory, slot, entry));
  }
  refuse_unknown_tensors(opened);
  return opened;
}

uint64_t scale_bytes_of(const CheckedDirectory& opened) {
  uint64_t n_bytes = 0;
  for (const ModelDirectory::Entry& scales : opened.scales) {
    if (scales.file != nullptr) n_bytes += scales.info->n_bytes;
  }
  return n_bytes;
}

// Scales as fp32. One that is not finite or negative, or that makes a value so, is refused.
std::vector<float> read_scales(const ModelDirectory::Entry& entry, const std::string& model_id) {
  const TensorInfo& info = *entry.info;
  std::vector<std::byte> bytes(info.n_bytes);
  entry.file->file().read_at(info.offset, bytes);
  std::vector<float> scales(static_cast<size_t>(info.shape[0]));
  convert_values(bytes.data(), info.dtype, reinterpret_cast<std::byte*>(scales.data()), DType::f32,
                 info.shape[0]);
  constexpr float kLargest = std::numeric_limits<float>::max() / 128.0F;
  for (size_t i = 0; i < scales.size(); ++i) {
    if (scales[i] >= 0.0F && scales[i] <= kLargest) continue;
    const std::string reason = format_text("tensor '{}': element {} of {} is {}, expected 0 to {}", info.name,
                                           i, scales.size(), scales[i], kLargest);
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

class DirectorySource final : public WeightSource {
 public:
  DirectorySource(const CheckedDirectory& checked, const std::string& model_id) : checked_(checked) {
    std::vector<const SafetensorsFile*> files;
    for (size_t i = 0; i < checked.slots.size(); ++i) {
      const ModelDirectory::Entry& scales = checked.scales[i];
      scales_.push_back(scales.file == nullptr ? std::vector<float>() : read_scales(scales, model_id));
      entries_.push_back(checked.directory.find(checked.slots[i].name));
      files.push_back(entries_.back().file);
    }
    std::sort(files.begin(), files.end(), [](auto* a, auto* b) { return a->path() < b->path(); });
    files.erase(std::unique(files.begin(), files.end()), files.end());
    positions_.resize(entries_.size());
    uint64_t start = 0;
    for (const SafetensorsFile* file : files) {
      for (size_t i = 0; i < entries_.size(); ++i) {
        if (entries_[i].file == file) positions_[i] = start + entries_[i].info->offset;
      }
      start += file->file().bytes().size();
    }
  }

  DType dtype(size_t slot) const override { return checked_.stored[slot]; }
  uint64_t position(size_t slot) const override { return positions_[slot]; }
  std::span<const float> scales(size_t slot) const override { return scales_[slot]; }
  uint64_t scale_bytes() const override { return scale_bytes_of(checked_); }

  // From the mapping, which is the faster way; from the file where the mapping is not aligned.
  std::span<const std::byte> read(size_t slot, int64_t first_row, int64_t n_rows,
                                  std::vector<std::byte>& buffer) const override {
    const ModelDirectory::Entry& entry = entries_[slot];
    const auto row_bytes = static_cast<uint64_t>(checked_.slots[slot].width() * dtype_size(dtype(slot)));
    const uint64_t offset = entry.info->offset + static_cast<uint64_t>(first_row) * row_bytes;
    const uint64_t n_bytes = static_cast<uint64_t>(n_rows) * row_bytes;
    const MappedFile& file = entry.file->file();
    if (entry.file->is_aligned(*entry.info)) return file.bytes().subspan(offset, n_bytes);
    const auto bytes = staging(buffer, n_bytes);
    file.read_at(offset, bytes);
    return bytes;
  }

 private:
  const CheckedDirectory& checked_;
  std::vector<ModelDirectory::Entry> entries_;
  std::vector<std::vector<float>> scales_;
  std::vector<uint64_t> positions_;  // of slot i, over all files
};

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

uint64_t weights_file_size(const std::string& path) {
  try {
    return MappedFile(join_path(path, "model.safetensors")).bytes().size();
  } catch (const Error&) {
    return 0;
  }
}

// Runs a load and turns what it throws into the errors of the exit-code table.
template <class F>
auto told_as_load_failure(const std::string& path, const std::string& model_id,
                          const std::atomic<uint64_t>& bytes_read, const F& body) {
  try {
    return body();
  } catch (const Error& error) {
    if (passes_through(error.status())) throw;
    const std::string subject = error.subject().empty() ? path : error.subject();
    if (error.status() == Status::file_not_found) {
      throw Error(Status::model_file_missing)
          .subject(path)
          .field("model_id", model_id)
          .field("path", subject)
          .hint("check the path and the configuration")
          .cause(error)
          .say("Model file missing: {} not found at {}", model_id, subject);
    }
    throw Error(Status::model_load_failed)
        .subject(subject)
        .field("model_id", model_id)
        .field("reason", error.message())
        .field("bytes_read", bytes_read.load())
        .field("file_size", weights_file_size(path))
        .os_code(error.os_code())
        .hint("check the files' permissions and integrity, or obtain them again")
        .cause(error)
        .say("Model load failed for {}: {}", model_id, error.message());
  }
}

}  // namespace

FuseMoePlan FuseMoe::plan(const std::string& path, const ModelOptions& options) {
  const std::string model_id = model_id_of(path);
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const CheckedDirectory opened = open_directory(path);
    FuseMoePlan plan = plan_fuse_moe(opened.config, opened.slots, opened.stored, options.weight_dtype);
    plan.file_bytes += scale_bytes_of(opened);
    return plan;
  });
}

std::shared_ptr<const FuseMoe> FuseMoe::load(std::shared_ptr<Device> device, const std::string& path,
                                             const ModelOptions& options, const Watch& watch) {
  const std::string model_id = model_id_of(path);
  std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const CheckedDirectory opened = open_directory(path);
    const DirectorySource source(opened, model_id);
    const FuseMoeBuild request{model_id, &opened.config,       opened.slots,
                               &source,  options.weight_dtype, &bytes_read};
    return FuseMoeBuilder::build(std::move(device), request, watch);
  });
}

}  // namespace nanochat
