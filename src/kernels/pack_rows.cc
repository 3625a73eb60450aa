#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

// Marks of pieces that a loop may stop at: small against the whole, large against a thread's start.
constexpr int64_t kScanPiece = 64 * 1024;

}  // namespace

int64_t pack_rows(Device& device, const PackedMatrix& target, int64_t first_row, int64_t n_rows,
                  const void* source, DType source_dtype, const float* source_scales) {
  if (n_rows <= 0) return -1;
  const SimdBodies& bodies = bodies_of(device);
  const PackTask task{.source = source,
                      .source_dtype = source_dtype,
                      .source_scales = source_scales,
                      .target_dtype = target.dtype,
                      .first_row = first_row,
                      .n_rows = n_rows,
                      .n = target.n,
                      .k = target.k,
                      .target = target.data};
  FirstIndex first;
  const int64_t first_panel = first_row / PackedMatrix::kPanel;
  const int64_t end_panel = (first_row + n_rows + PackedMatrix::kPanel - 1) / PackedMatrix::kPanel;
  const int64_t cost = (end_panel - first_panel) * PackedMatrix::panel_bytes(target.dtype, target.k);
  split_work(device, end_panel - first_panel, 1, cost, [&](int64_t begin, int64_t end) {
    for (int64_t panel = first_panel + begin; panel < first_panel + end; ++panel) {
      const int64_t found = bodies.pack_panel(task, panel);
      if (found >= 0) first.report(found);
    }
  });
  return first.get();
}

int64_t find_not_finite(Device& device, const void* data, DType dtype, int64_t n) {
  const SimdBodies& bodies = bodies_of(device);
  FirstIndex first;
  split_work(device, n, kScanPiece, n * dtype_size(dtype), [&](int64_t begin, int64_t end) {
    const int64_t found = bodies.find_not_finite(data, dtype, begin, end);
    if (found >= 0) first.report(found);
  });
  return first.get();
}

}  // namespace nanochat::simd
