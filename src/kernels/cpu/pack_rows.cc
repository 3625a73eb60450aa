#include <algorithm>
#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/elements.h"
#include "kernels/f8.h"
#include "kernels/int8.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

void set_packed(const PackedMatrix& target, int64_t row, int64_t column, float value) {
  const int64_t index = packed_index(target, row, column);
  if (target.dtype == DType::bf16) {
    static_cast<uint16_t*>(target.data)[index] = bf16_from_float(value);
  } else if (target.dtype == DType::i8) {
    static_cast<uint8_t*>(target.data)[index] = static_cast<uint8_t>(static_cast<int32_t>(value) + 128);
  } else if (target.dtype == DType::f8_e4m3) {
    static_cast<uint8_t*>(target.data)[index] = f8_from_float(value);
  } else {
    static_cast<float*>(target.data)[index] = value;
  }
}

void zero_row(const PackedMatrix& target, int64_t row) {
  for (int64_t column = 0; column < packed_columns(target); ++column) set_packed(target, row, column, 0.0F);
  if (has_scales(target.dtype)) *packed_scale(target, row) = 0.0F;
}

struct SourceRow {
  const void* data;
  DType dtype;
  int64_t first;       // element of data
  const float* scale;  // of a row of i8 or f8_e4m3
};

// Returns the first column that is not finite, or -1.
int64_t pack_row(const PackedMatrix& target, int64_t row, const SourceRow& source) {
  int64_t bad = -1;
  float largest = 0.0F;
  for (int64_t column = 0; column < target.k; ++column) {
    const float value = element_at(source.data, source.dtype, source.first + column);
    if (!is_finite(value) && bad < 0) bad = column;
    largest = std::max(largest, std::abs(value));
  }
  if (source.scale != nullptr && !is_stored_scale(*source.scale)) bad = 0;
  const bool is_scaled = has_scales(target.dtype);
  const float scale = target.dtype == DType::i8 ? int8_scale(largest) : f8_scale(largest);
  if (is_scaled) *packed_scale(target, row) = source.scale != nullptr ? *source.scale : scale;
  const float divisor = is_scaled && source.scale == nullptr && bad < 0 ? int8_divisor(scale) : 1.0F;
  for (int64_t column = 0; column < packed_columns(target); ++column) {
    float value = column < target.k ? element_at(source.data, source.dtype, source.first + column) : 0.0F;
    if (target.dtype == DType::i8 && source.scale == nullptr) {
      value = bad < 0 ? std::clamp(std::nearbyint(value / divisor), -127.0F, 127.0F) : 0.0F;
    }
    if (target.dtype == DType::f8_e4m3 && source.scale == nullptr) value = bad < 0 ? value / divisor : 0.0F;
    set_packed(target, row, column, value);
  }
  return bad;
}

}  // namespace

int64_t pack_rows(Device& device, const PackedMatrix& target, int64_t first_row, int64_t n_rows,
                  const void* source, DType source_dtype, const float* source_scales) {
  FirstIndex first;
  device.threads().parallel_for(n_rows, PackedMatrix::kPanel, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* scale = source_scales == nullptr ? nullptr : source_scales + row;
      const int64_t bad = pack_row(target, first_row + row, {source, source_dtype, row * target.k, scale});
      if (bad >= 0) first.report(row * target.k + bad);
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
