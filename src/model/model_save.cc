// Model::save: what load() read, from the device back into the format's own names.
#include <algorithm>
#include <bit>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "model/tensor_slots.h"

namespace nanochat {

namespace {

DType saved_dtype(const Weights& weights, const TensorSlot& slot) {
  switch (kind_of(slot.role)) {
    case TensorKind::matrix:
      return matrix_of(weights, slot).dtype;
    case TensorKind::table:
      return weights.table_dtype;
    default:
      return DType::f32;
  }
}

// A folder that holds weights under another name would be loaded from there.
void refuse_other_weights(const std::string& path, std::string_view weights_name) {
  for (const char* name : {"model.safetensors.index.json", "model.safetensors", "weights.safetensors"}) {
    const std::string other = join_path(path, name);
    if (name == weights_name || !file_exists(other)) continue;
    throw Error(Status::invalid_argument)
        .subject(path)
        .say("{}: holds {}, so a model saved as {} would not be found", path, name, weights_name);
  }
}

class WeightWriter {
 public:
  WeightWriter(const Model& model, SafetensorsWriter& out, const Watch& watch)
      : config_(model.config()),
        weights_(model.weights()),
        device_(model.device()),
        out_(out),
        watch_(watch) {}

  void write(std::span<const TensorSlot> slots) {
    for (const TensorSlot& slot : slots) total_bytes_ += bytes_of(slot, slot.n_rows());
    for (const TensorSlot& slot : slots) {
      switch (kind_of(slot.role)) {
        case TensorKind::matrix:
          write_matrix(slot);
          break;
        case TensorKind::table:
          write_plain(slot, table_of(weights_, slot));
          break;
        case TensorKind::vector:
          write_plain(slot, vector_of(weights_, slot));
          break;
        case TensorKind::scalars:
          write_scalars(slot);
          break;
      }
    }
  }

 private:
  static constexpr int64_t kRows = 256;             // unpacked at once
  static constexpr int64_t kConverted = 64 * 1024;  // values, by one thread

  uint64_t bytes_of(const TensorSlot& slot, int64_t n_rows) const {
    return static_cast<uint64_t>(n_rows * slot.width() * dtype_size(saved_dtype(weights_, slot)));
  }

  void emit(const void* data, uint64_t n_bytes) {
    out_.write({static_cast<const std::byte*>(data), static_cast<size_t>(n_bytes)});
    watch_.report("save", done_bytes_ += n_bytes, total_bytes_);
  }

  void write_matrix(const TensorSlot& slot) {
    const PackedMatrix& matrix = matrix_of(weights_, slot);
    const int64_t n_used = used_rows(config_, slot);
    const int64_t width = slot.width();
    const int64_t step = std::min(kRows, slot.n_rows());
    const Block rows = device_.memory().allocate(
        PoolKind::working, static_cast<uint64_t>(step * width) * sizeof(float), "rows to save");
    std::vector<float> copied(device_.is_host() ? 0 : static_cast<size_t>(step * width));
    float* const values = device_.is_host() ? rows.as<float>() : copied.data();
    std::vector<int32_t> ids;
    for (int64_t first = 0; first < slot.n_rows(); first += step) {
      const int64_t n = std::min(step, slot.n_rows() - first);
      const int64_t n_real = std::clamp<int64_t>(n_used - first, 0, n);
      ids.resize(static_cast<size_t>(n_real));
      std::iota(ids.begin(), ids.end(), static_cast<int32_t>(first_matrix_row(config_, slot.role) + first));
      device_.kernels().unpack_rows(device_, matrix, ids, rows.as<float>());
      device_.synchronize();
      if (!device_.is_host()) {
        device_.copy_to_host(values, rows.as<float>(), static_cast<size_t>(n_real * width) * sizeof(float));
      }
      // Rows that pad the vocabulary are not kept: they are no outputs.
      std::fill(values + n_real * width, values + n * width, 0.0F);
      emit_values({values, static_cast<size_t>(n * width)}, matrix.dtype);
    }
  }

  void emit_values(std::span<const float> values, DType dtype) {
    if (dtype == DType::f32) return emit(values.data(), values.size_bytes());
    words_.resize(std::max(words_.size(), values.size()));
    device_.threads().parallel_for(std::ssize(values), kConverted, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        // Exact: the value was a bf16.
        words_[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[i]) >> 16);
      }
    });
    emit(words_.data(), values.size() * sizeof(uint16_t));
  }

  void write_plain(const TensorSlot& slot, const void* source) {
    std::vector<std::byte> bytes(bytes_of(slot, std::min(kRows, slot.n_rows())));
    const auto* rows = static_cast<const std::byte*>(source);
    for (int64_t first = 0; first < slot.n_rows(); first += kRows) {
      const uint64_t n_bytes = bytes_of(slot, std::min(kRows, slot.n_rows() - first));
      device_.copy_to_host(bytes.data(), rows + bytes_of(slot, first), n_bytes);
      emit(bytes.data(), n_bytes);
    }
  }

  void write_scalars(const TensorSlot& slot) {
    std::vector<float> values;
    for (int64_t i = 0; i < slot.n_elements(); ++i) values.push_back(scalar_of(weights_, slot, i));
    emit(values.data(), values.size() * sizeof(float));
  }

  const ModelConfig& config_;
  Weights weights_;  // a copy of the pointers
  Device& device_;
  SafetensorsWriter& out_;
  const Watch& watch_;
  std::vector<uint16_t> words_;
  uint64_t done_bytes_ = 0, total_bytes_ = 0;
};

}  // namespace

void Model::save(const std::string& path, const Watch& watch) const {
  if (weight_dtype_ == WeightDtype::i8) {
    throw Error(Status::unsupported)
        .subject(path)
        .say("{}: a model with int8 weights is not saved", path)
        .hint("load the model with bf16 or f32 weights, then save it");
  }
  const bool is_own = config_.format == ModelFormat::nanochat;
  const std::string weights_name = is_own ? "weights.safetensors" : "model.safetensors";
  make_directories(path);
  refuse_other_weights(path, weights_name);
  const std::vector<TensorSlot> slots = tensor_slots(config_);
  std::vector<TensorInfo> infos;
  for (const TensorSlot& slot : slots) {
    TensorInfo info;
    info.name = slot.name;
    info.dtype = saved_dtype(weights_, slot);
    info.shape = slot.shape;
    infos.push_back(std::move(info));
  }
  SafetensorsWriter out(join_path(path, weights_name), std::move(infos), {{"format", "pt"}});
  WeightWriter(*this, out, watch).write(slots);
  watch.check();
  out.commit();
  write_file(join_path(path, "config.json"), write_json(model_config_json(config_), 1) + "\n");
}

}  // namespace nanochat
