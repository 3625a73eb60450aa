#include "model/slot_rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/elements.h"

namespace nanochat {

namespace {

// Rows that pad the vocabulary are not in the packed matrix; they are the last ones.
void read_matrix(const Model& model, const TensorSlot& slot, std::span<const int32_t> rows,
                 std::span<float> values) {
  Device& device = model.device();
  const auto width = static_cast<size_t>(slot.width());
  const int64_t n_used = used_rows(model.config(), slot);
  const auto n_real =
      static_cast<size_t>(std::count_if(rows.begin(), rows.end(), [&](int32_t row) { return row < n_used; }));
  std::vector<int32_t> ids(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(n_real));
  for (int32_t& id : ids) id += static_cast<int32_t>(first_matrix_row(model.config(), slot.role));
  const PackedMatrix& matrix = matrix_of(model.weights(), slot);
  if (device.is_host()) {
    device.kernels().unpack_rows(device, matrix, ids, values.data());
    device.synchronize();
  } else {
    const uint64_t n_bytes = n_real * width * sizeof(float);
    const Block unpacked = device.memory().allocate(PoolKind::working, n_bytes, "unpacked rows");
    device.kernels().unpack_rows(device, matrix, ids, unpacked.as<float>());
    device.synchronize();
    device.copy_to_host(values.data(), unpacked.as<float>(), n_bytes);
  }
  std::fill(values.begin() + static_cast<ptrdiff_t>(n_real * width), values.end(), 0.0F);
}

void read_table(const Model& model, const TensorSlot& slot, std::span<const int32_t> rows,
                std::span<float> values) {
  const Weights& weights = model.weights();
  const auto* table = static_cast<const std::byte*>(table_of(weights, slot));
  const auto width = static_cast<size_t>(slot.width());
  const size_t row_bytes = width * static_cast<size_t>(dtype_size(weights.table_dtype));
  std::vector<uint16_t> words(weights.table_dtype == DType::f32 ? 0 : width);
  for (size_t i = 0; i < rows.size(); ++i) {
    float* const row = values.data() + i * width;
    const std::byte* const source = table + static_cast<size_t>(rows[i]) * row_bytes;
    if (words.empty()) {
      model.device().copy_to_host(row, source, row_bytes);
      continue;
    }
    model.device().copy_to_host(words.data(), source, row_bytes);
    for (size_t k = 0; k < width; ++k) row[k] = float_from_bf16(words[k]);
  }
}

void read_vector(const Model& model, const TensorSlot& slot, std::span<const int32_t> rows,
                 std::span<float> values) {
  const float* const vector = vector_of(model.weights(), slot);
  const auto width = static_cast<size_t>(slot.width());
  for (size_t i = 0; i < rows.size(); ++i) {
    model.device().copy_to_host(values.data() + i * width, vector + static_cast<size_t>(rows[i]) * width,
                                width * sizeof(float));
  }
}

}  // namespace

DType held_dtype(const Weights& weights, const TensorSlot& slot) {
  switch (kind_of(slot.role)) {
    case TensorKind::matrix:
      return matrix_of(weights, slot).dtype;
    case TensorKind::table:
      return weights.table_dtype;
    default:
      return DType::f32;
  }
}

void read_rows(const Model& model, const TensorSlot& slot, std::span<const int32_t> rows,
               std::span<float> values) {
  switch (kind_of(slot.role)) {
    case TensorKind::matrix:
      return read_matrix(model, slot, rows, values);
    case TensorKind::table:
      return read_table(model, slot, rows, values);
    case TensorKind::vector:
      return read_vector(model, slot, rows, values);
    case TensorKind::scalars: {
      for (int64_t i = 0; i < slot.n_elements(); ++i) {
        values[static_cast<size_t>(i)] = scalar_of(model.weights(), slot, i);
      }
    }
  }
}

std::vector<float> read_scales(const Model& model, const TensorSlot& slot) {
  std::vector<float> scales(static_cast<size_t>(slot.n_rows()), 0.0F);
  const PackedMatrix& matrix = matrix_of(model.weights(), slot);
  const int64_t first = first_matrix_row(model.config(), slot.role);
  for (int64_t row = 0; row < used_rows(model.config(), slot); ++row) {
    model.device().copy_to_host(&scales[static_cast<size_t>(row)], packed_scale(matrix, first + row),
                                sizeof(float));
  }
  return scales;
}

void visit_rows(const Model& model, const TensorSlot& slot, const RowOrder& order,
                const std::function<void(int64_t first_row, std::span<const float> values)>& visit) {
  constexpr int64_t kRows = 256;
  const int64_t width = slot.width();
  const int64_t step = std::min(kRows, slot.n_rows());
  const Block block = model.device().memory().allocate(
      PoolKind::working, static_cast<uint64_t>(step * width) * sizeof(float), "rows to write");
  std::vector<float> copied(model.device().is_host() ? 0 : static_cast<size_t>(step * width));
  float* const values = copied.empty() ? block.as<float>() : copied.data();
  std::vector<int32_t> rows;
  for (int64_t first = 0; first < slot.n_rows(); first += step) {
    const int64_t n = std::min(step, slot.n_rows() - first);
    rows.resize(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      rows[static_cast<size_t>(i)] = static_cast<int32_t>(order ? order(first + i) : first + i);
    }
    const std::span<float> piece(values, static_cast<size_t>(n * width));
    read_rows(model, slot, rows, piece);
    visit(first, piece);
  }
}

}  // namespace nanochat
