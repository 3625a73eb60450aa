// FuseMoe::save: what load() read, from the device back into tensors. Values are the held ones.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "encoder/fuse_moe_weights.h"
#include "io/safetensors.h"
#include "kernels/elements.h"

namespace nanochat {

namespace {

constexpr int64_t kRows = 256;  // of a matrix, at a time

struct SavedTensor {
  FuseMoeSlot slot;
  bool is_scales;
  TensorInfo info;
};

TensorInfo tensor_info(std::string name, DType dtype, Shape shape) {
  TensorInfo info;
  info.name = std::move(name);
  info.dtype = dtype;
  info.shape = std::move(shape);
  return info;
}

class Saving {
 public:
  Saving(const FuseMoe& model, const Watch& watch)
      : model_(model), weights_(model.weights()), watch_(watch) {}

  void write(const std::string& path) {
    const std::vector<SavedTensor> tensors = list_tensors();
    std::vector<TensorInfo> infos;
    for (const SavedTensor& tensor : tensors) {
      infos.push_back(tensor.info);
      const int64_t n = tensor.is_scales ? tensor.slot.n_rows() : tensor.slot.n_elements();
      total_bytes_ += static_cast<uint64_t>(n * dtype_size(tensor.info.dtype));
    }
    SafetensorsWriter out(path, std::move(infos), {{"format", "pt"}});
    for (const SavedTensor& tensor : tensors) {
      if (tensor.is_scales) {
        emit(out, std::as_bytes(std::span<const float>(scales_of(tensor.slot))));
      } else if (tensor.slot.kind == TensorKind::matrix) {
        write_matrix(out, tensor.slot);
      } else {
        write_vector(out, tensor.slot);
      }
    }
    watch_.check();
    out.commit();
  }

 private:
  // Wide element types first, so that each is aligned in the file.
  std::vector<SavedTensor> list_tensors() {
    std::vector<SavedTensor> tensors;
    for (const FuseMoeSlot& slot : fuse_moe_slots(model_.config())) {
      const DType dtype = slot.kind == TensorKind::matrix ? matrix_of(weights_, slot).dtype : DType::f32;
      tensors.push_back({slot, false, tensor_info(slot.name, dtype, slot.shape)});
      if (!has_scales(dtype)) continue;
      tensors.push_back({slot, true, tensor_info(slot.name + "_scale", DType::f32, {slot.n_rows(), 1})});
    }
    std::stable_sort(tensors.begin(), tensors.end(), [](const SavedTensor& a, const SavedTensor& b) {
      return dtype_size(a.info.dtype) > dtype_size(b.info.dtype);
    });
    return tensors;
  }

  void emit(SafetensorsWriter& out, std::span<const std::byte> bytes) {
    out.write(bytes);
    watch_.report("save", done_bytes_ += bytes.size(), total_bytes_);
  }

  std::vector<float> scales_of(const FuseMoeSlot& slot) {
    std::vector<float> scales(static_cast<size_t>(slot.n_rows()));
    const PackedMatrix& matrix = matrix_of(weights_, slot);
    for (int64_t row = 0; row < slot.n_rows(); ++row) {
      model_.device().copy_to_host(&scales[static_cast<size_t>(row)], packed_scale(matrix, row),
                                   sizeof(float));
    }
    return scales;
  }

  void write_vector(SafetensorsWriter& out, const FuseMoeSlot& slot) {
    std::vector<float> values(static_cast<size_t>(slot.width()));
    model_.device().copy_to_host(values.data(), vector_of(weights_, slot), values.size() * sizeof(float));
    emit(out, std::as_bytes(std::span<const float>(values)));
  }

  void write_matrix(SafetensorsWriter& out, const FuseMoeSlot& slot) {
    Device& device = model_.device();
    const PackedMatrix& matrix = matrix_of(weights_, slot);
    const std::vector<float> scales = has_scales(matrix.dtype) ? scales_of(slot) : std::vector<float>();
    const int64_t most = std::min(kRows, matrix.n);
    const Block block = device.memory().allocate(
        PoolKind::working, static_cast<uint64_t>(most * matrix.k) * sizeof(float), "rows to write");
    std::vector<float> values(static_cast<size_t>(most * matrix.k));
    std::vector<int32_t> rows;
    for (int64_t first = 0; first < matrix.n; first += most) {
      const int64_t n = std::min(most, matrix.n - first);
      rows.resize(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) rows[static_cast<size_t>(i)] = static_cast<int32_t>(first + i);
      device.kernels().unpack_rows(device, matrix, rows, block.as<float>());
      device.synchronize();
      const std::span<float> piece = std::span(values).first(static_cast<size_t>(n * matrix.k));
      device.copy_to_host(piece.data(), block.as<float>(), piece.size_bytes());
      write_values(out, matrix, piece,
                   std::span(scales).subspan(scales.empty() ? 0 : static_cast<size_t>(first)));
    }
  }

  void write_values(SafetensorsWriter& out, const PackedMatrix& matrix, std::span<const float> values,
                    std::span<const float> scales) {
    if (matrix.dtype == DType::f32) return emit(out, std::as_bytes(values));
    if (matrix.dtype == DType::bf16) {
      std::vector<uint16_t> words(values.size());
      for (size_t i = 0; i < words.size(); ++i) words[i] = bf16_from_float(values[i]);  // exact: it was bf16
      return emit(out, std::as_bytes(std::span<const uint16_t>(words)));
    }
    // Exact: a value is a code's times its row's scale, rounded once, far from the next code's.
    std::vector<uint8_t> codes(values.size());
    const auto width = static_cast<size_t>(matrix.k);
    for (size_t i = 0; i < codes.size(); ++i) {
      const float scale = scales[i / width];
      const float value = scale > 0.0F ? values[i] / scale : 0.0F;
      codes[i] = matrix.dtype == DType::i8 ? static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(value)))
                                           : f8_from_float(value);
    }
    emit(out, std::as_bytes(std::span<const uint8_t>(codes)));
  }

  const FuseMoe& model_;
  FuseMoeWeights weights_;  // pointers into the model's block
  const Watch& watch_;
  uint64_t done_bytes_ = 0, total_bytes_ = 0;
};

// A folder that holds weights under another name would be loaded from there.
void refuse_other_weights(const std::string& path) {
  const char* const name = "model.safetensors.index.json";
  if (!file_exists(join_path(path, name))) return;
  throw Error(Status::invalid_argument)
      .subject(path)
      .say("{}: holds {}, so a layer saved as model.safetensors would not be found", path, name);
}

}  // namespace

void FuseMoe::save(const std::string& path, const Watch& watch) const {
  make_directories(path);
  refuse_other_weights(path);
  Saving(*this, watch).write(join_path(path, "model.safetensors"));
  write_file(join_path(path, "config.json"), write_json(fuse_moe_config_json(config_), 1) + "\n");
}

}  // namespace nanochat
