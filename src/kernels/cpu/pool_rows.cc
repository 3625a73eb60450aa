#include <algorithm>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

constexpr int64_t kColumns = 256;  // whose sums stay near while the rows pass by

void mean_of_columns(const float* x, int64_t ldx, int64_t n_rows, int64_t n, float* y) {
  double sums[kColumns] = {};
  for (int64_t row = 0; row < n_rows; ++row, x += ldx) {
    for (int64_t i = 0; i < n; ++i) sums[i] += static_cast<double>(x[i]);
  }
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(sums[i] / static_cast<double>(n_rows));
}

void largest_of_columns(const float* x, int64_t ldx, int64_t n_rows, int64_t n, float* y) {
  std::copy_n(x, n, y);
  for (int64_t row = 1; row < n_rows; ++row) {
    x += ldx;
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] <= y[i] || y[i] != y[i] ? y[i] : x[i];  // NaN stays
  }
}

}  // namespace

void pool_rows(Device& device, std::span<const RowRange> ranges, const float* x, int64_t ldx, int64_t width,
               RowPooling pooling, float* y) {
  const int64_t n_pieces = (width + kColumns - 1) / kColumns;
  int64_t n_rows = 0;
  for (const RowRange& range : ranges) n_rows += range.n;
  split_work(device, std::ssize(ranges) * n_pieces, 1, n_rows * width * 4, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const RowRange& range = ranges[static_cast<size_t>(piece / n_pieces)];
      const int64_t first = piece % n_pieces * kColumns;
      const int64_t n = std::min(kColumns, width - first);
      const float* from = x + range.first * ldx + first;
      float* to = y + piece / n_pieces * width + first;
      if (range.n <= 0) {
        std::fill_n(to, n, 0.0F);
      } else if (pooling == RowPooling::mean) {
        mean_of_columns(from, ldx, range.n, n, to);
      } else {
        largest_of_columns(from, ldx, range.n, n, to);
      }
    }
  });
}

}  // namespace nanochat::reference
