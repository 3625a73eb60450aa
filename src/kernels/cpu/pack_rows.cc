#include "kernels/cpu/reference.h"
#include "kernels/elements.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

void set_packed(const PackedMatrix& target, int64_t row, int64_t column, float value) {
  const int64_t index = packed_index(target, row, column);
  if (target.dtype == DType::bf16) {
    static_cast<uint16_t*>(target.data)[index] = bf16_from_float(value);
  } else {
    static_cast<float*>(target.data)[index] = value;
  }
}

void zero_row(const PackedMatrix& target, int64_t row) {
  for (int64_t column = 0; column < packed_columns(target); ++column) set_packed(target, row, column, 0.0F);
}

}  // namespace

int64_t pack_rows(Device& device, const PackedMatrix& target, int64_t first_row, int64_t n_rows,
                  const void* source, DType source_dtype) {
  FirstIndex first;
  device.threads().parallel_for(n_rows, PackedMatrix::kPanel, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t column = 0; column < target.k; ++column) {
        const float value = element_at(source, source_dtype, row * target.k + column);
        if (!is_finite(value)) first.report(row * target.k + column);
        set_packed(target, first_row + row, column, value);
      }
      if (target.k < packed_columns(target)) set_packed(target, first_row + row, target.k, 0.0F);
    }
  });
  if (n_rows > 0 && first_row + n_rows == target.n) {
    const int64_t padded =
        (target.n + PackedMatrix::kPanel - 1) / PackedMatrix::kPanel * PackedMatrix::kPanel;
    for (int64_t row = target.n; row < padded; ++row) zero_row(target, row);
  }
  return first.get();
}

void unpack_rows(Device& device, const PackedMatrix& source, std::span<const int32_t> rows, float* target) {
  device.threads().parallel_for(static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t column = 0; column < source.k; ++column) {
        target[i * source.k + column] = packed_at(source, rows[static_cast<size_t>(i)], column);
      }
    }
  });
}

int64_t find_not_finite(Device& device, const void* data, DType dtype, int64_t n) {
  FirstIndex first;
  device.threads().parallel_for(n, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (is_finite(element_at(data, dtype, i))) continue;
      first.report(i);
      return;
    }
  });
  return first.get();
}

}  // namespace nanochat::reference
