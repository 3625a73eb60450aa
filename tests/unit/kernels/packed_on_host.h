// What a packed matrix holds, read by the words of its device's layout.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "every_device.h"
#include "kernels/elements.h"

namespace nanochat::testing {

class PackedOnHost {
 public:
  PackedOnHost(Device& device, const PackedMatrix& matrix) : matrix_(matrix), is_host_(device.is_host()) {
    device.synchronize();
    bytes_ = nanochat::testing::on_host(device, static_cast<const uint8_t*>(matrix.data),
                                        PackedMatrix::packed_bytes(matrix.dtype, matrix.n, matrix.k));
    matrix_.data = bytes_.data();
  }

  float scale(int64_t row) const { return *packed_scale(matrix_, row); }

  // The bits of an element; of i8 the integer itself.
  int32_t stored(int64_t row, int64_t column) const {
    switch (matrix_.dtype) {
      case DType::i8:
        return is_host_ ? read<uint8_t>(row, column) - 128 : read<int8_t>(row, column);
      case DType::f8_e4m3:
        return read<uint8_t>(row, column);
      case DType::bf16:
        return read<uint16_t>(row, column);
      default:
        return read<int32_t>(row, column);
    }
  }

  float at(int64_t row, int64_t column) const {
    switch (matrix_.dtype) {
      case DType::i8:
        return static_cast<float>(stored(row, column)) * scale(row);
      case DType::f8_e4m3:
        return float_from_f8(static_cast<uint8_t>(stored(row, column))) * scale(row);
      case DType::bf16:
        return float_from_bf16(static_cast<uint16_t>(stored(row, column)));
      default:
        return read<float>(row, column);
    }
  }

 private:
  // On a GPU the rows of a panel lie one after the other, padded as on the host.
  int64_t index(int64_t row, int64_t column) const {
    if (is_host_) return packed_index(matrix_, row, column);
    const int64_t panel_bytes = PackedMatrix::panel_bytes(matrix_.dtype, matrix_.k);
    return row / PackedMatrix::kPanel * panel_bytes / dtype_size(matrix_.dtype) +
           row % PackedMatrix::kPanel * packed_columns(matrix_) + column;
  }
  template <class T>
  T read(int64_t row, int64_t column) const {
    T value;
    std::memcpy(&value, bytes_.data() + index(row, column) * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }

  PackedMatrix matrix_;
  bool is_host_;
  std::vector<uint8_t> bytes_;
};

}  // namespace nanochat::testing
