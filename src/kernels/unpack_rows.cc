#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

// Length of the run of rows that follow one another in one panel, from rows[begin] on, at most to `end`.
int64_t run_length(std::span<const int32_t> rows, int64_t begin, int64_t end) {
  const int64_t first = rows[static_cast<size_t>(begin)];
  const int64_t most = std::min(end - begin, PackedMatrix::kPanel - first % PackedMatrix::kPanel);
  int64_t n = 1;
  while (n < most && rows[static_cast<size_t>(begin + n)] == first + n) ++n;
  return n;
}

}  // namespace

void unpack_rows(Device& device, const PackedMatrix& source, std::span<const int32_t> rows, float* target) {
  const SimdBodies& bodies = bodies_of(device);
  const auto n_rows = static_cast<int64_t>(rows.size());
  // A piece is not cut at the panels of the matrix, but is a panel long: few panels are read twice.
  split_work(device, n_rows, PackedMatrix::kPanel, n_rows * source.k * 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t n = run_length(rows, i, end);
      bodies.unpack_panel({.data = source.data,
                           .dtype = source.dtype,
                           .k = source.k,
                           .first_row = rows[static_cast<size_t>(i)],
                           .n_rows = n,
                           .target = target + i * source.k});
      i += n;
    }
  });
}

}  // namespace nanochat::simd
