// Model::save: what load() read, from the device back into the format's own names.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "model/slot_rows.h"

namespace nanochat {

namespace {

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

// One tensor of the file: a slot, or the scales of an int8 slot.
struct SavedTensor {
  TensorSlot slot;
  bool is_scales;
  TensorInfo info;
};

std::vector<SavedTensor> saved_tensors(const Model& model) {
  std::vector<SavedTensor> tensors;
  for (const TensorSlot& slot : tensor_slots(model.config())) {
    SavedTensor tensor{slot, false, {}};
    tensor.info.name = slot.name;
    tensor.info.dtype = held_dtype(model.weights(), slot);
    tensor.info.shape = slot.shape;
    tensors.push_back(tensor);
    if (tensor.info.dtype != DType::i8) continue;
    tensor.is_scales = true;
    tensor.info.name += "_scale";
    tensor.info.dtype = DType::f32;
    tensor.info.shape = {slot.n_rows(), 1};
    tensors.push_back(std::move(tensor));
  }
  // Bytes of any number before wider elements would leave those unaligned in the file.
  if (model.weight_dtype() == WeightDtype::i8) {
    std::stable_sort(tensors.begin(), tensors.end(), [](const SavedTensor& a, const SavedTensor& b) {
      return dtype_size(a.info.dtype) > dtype_size(b.info.dtype);
    });
  }
  return tensors;
}

class WeightWriter {
 public:
  WeightWriter(const Model& model, SafetensorsWriter& out, const Watch& watch)
      : model_(model), out_(out), watch_(watch) {}

  void write(std::span<const SavedTensor> tensors) {
    for (const SavedTensor& tensor : tensors) {
      const int64_t n = tensor.is_scales ? tensor.slot.n_rows() : tensor.slot.n_elements();
      total_bytes_ += static_cast<uint64_t>(n * dtype_size(tensor.info.dtype));
    }
    for (const SavedTensor& tensor : tensors) {
      if (tensor.is_scales) {
        emit(std::as_bytes(std::span<const float>(read_scales(model_, tensor.slot))));
      } else {
        write_rows(tensor);
      }
    }
  }

 private:
  static constexpr int64_t kConverted = 64 * 1024;  // values, by one thread

  void emit(std::span<const std::byte> bytes) {
    out_.write(bytes);
    watch_.report("save", done_bytes_ += bytes.size(), total_bytes_);
  }

  void write_rows(const SavedTensor& tensor) {
    std::vector<float> scales;
    if (tensor.info.dtype == DType::i8) scales = read_scales(model_, tensor.slot);
    visit_rows(model_, tensor.slot, {}, [&](int64_t first_row, std::span<const float> values) {
      switch (tensor.info.dtype) {
        case DType::f32:
          return emit(std::as_bytes(values));
        case DType::i8: {
          const auto first = static_cast<size_t>(first_row);
          return emit_integers(values, std::span(scales).subspan(first), tensor.slot.width());
        }
        default:
          return emit_words(values);
      }
    });
  }

  // Exact: the values were bf16.
  void emit_words(std::span<const float> values) {
    words_.resize(std::max(words_.size(), values.size()));
    model_.device().threads().parallel_for(std::ssize(values), kConverted, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        words_[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[i]) >> 16);
      }
    });
    emit(std::as_bytes(std::span(words_).first(values.size())));
  }

  // Exact: a value is an integer times its row's scale, rounded once, far from the next integer's.
  void emit_integers(std::span<const float> values, std::span<const float> scales, int64_t width) {
    integers_.resize(std::max(integers_.size(), values.size()));
    const auto n_rows = std::ssize(values) / width;
    const int64_t rows_by_thread = std::max<int64_t>(1, kConverted / width);
    model_.device().threads().parallel_for(n_rows, rows_by_thread, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float scale = scales[static_cast<size_t>(row)];
        for (auto i = static_cast<size_t>(row * width); i < static_cast<size_t>((row + 1) * width); ++i) {
          integers_[i] = scale > 0.0F ? static_cast<int8_t>(std::nearbyint(values[i] / scale)) : int8_t{0};
        }
      }
    });
    emit(std::as_bytes(std::span(integers_).first(values.size())));
  }

  const Model& model_;
  SafetensorsWriter& out_;
  const Watch& watch_;
  std::vector<uint16_t> words_;
  std::vector<int8_t> integers_;
  uint64_t done_bytes_ = 0, total_bytes_ = 0;
};

}  // namespace

void Model::save(const std::string& path, const Watch& watch) const {
  const bool is_own = config_.format == ModelFormat::nanochat;
  const std::string weights_name = is_own ? "weights.safetensors" : "model.safetensors";
  make_directories(path);
  refuse_other_weights(path, weights_name);
  const std::vector<SavedTensor> tensors = saved_tensors(*this);
  std::vector<TensorInfo> infos;
  for (const SavedTensor& tensor : tensors) infos.push_back(tensor.info);
  Json config = model_config_json(config_);
  if (weight_dtype_ == WeightDtype::i8) config["quantization_config"] = int8_weights_json(config_);
  SafetensorsWriter out(join_path(path, weights_name), std::move(infos), {{"format", "pt"}});
  WeightWriter(*this, out, watch).write(tensors);
  watch.check();
  out.commit();
  write_file(join_path(path, "config.json"), write_json(config, 1) + "\n");
}

}  // namespace nanochat
