#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

constexpr int64_t kPanel = PackedMatrix::kPanel;
constexpr int64_t kStackBytes = 16 * 1024;  // x of a decode step is rounded without an allocation
constexpr int64_t kStreamPieceBytes = 128 * 1024;
constexpr int64_t kRowsOfOneStream = 12;  // below, a panel is worth its bytes; above, its arithmetic
constexpr int64_t kTileRows = 6;          // of all bodies: rows are cut between tiles
constexpr int64_t kRowsOfUnit = 8 * kTileRows;

// y in units of one panel by some rows, those of a panel next to each other, so that a thread's share may end
// within a panel.
void run(Device& device, const LinearTask& task, int64_t m) {
  const SimdBodies& bodies = bodies_of(device);
  const int64_t n_panels = (task.n + kPanel - 1) / kPanel;
  const int64_t panel_bytes = PackedMatrix::panel_bytes(task.dtype, task.k);
  const int64_t cost = n_panels * panel_bytes * ((m + kRowsOfOneStream - 1) / kRowsOfOneStream);
  const int64_t grain = m > kRowsOfOneStream ? 1 : rows_per_piece(panel_bytes, kStreamPieceBytes);
  const int64_t n_units = (m + kRowsOfUnit - 1) / kRowsOfUnit;  // of a panel
  split_work(device, n_panels * n_units, grain, cost, [&](int64_t unit, int64_t end) {
    while (unit < end) {
      const int64_t panel = unit / n_units, first = unit % n_units;
      const int64_t last = std::min(n_units, first + end - unit);
      bodies.linear(task, panel, first * kRowsOfUnit, std::min(m, last * kRowsOfUnit));
      unit += last - first;
    }
  });
}

}  // namespace

void linear(Device& device, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
            int64_t ldy, LinearOutput output) {
  if (m <= 0 || w.n <= 0) return;
  if (w.k <= 0) {  // sums of nothing
    for (int64_t row = 0; row < m && output == LinearOutput::store; ++row)
      std::fill_n(y + row * ldy, w.n, 0.0F);
    return;
  }
  LinearTask task{.dtype = w.dtype,
                  .n = w.n,
                  .k = w.k,
                  .w = w.data,
                  .x = x,
                  .x_row_bytes = ldx * static_cast<int64_t>(sizeof(float)),
                  .y = y,
                  .ldy = ldy,
                  .add = output == LinearOutput::add ? 1 : 0};
  if (w.dtype == DType::f32) return run(device, task, m);

  const SimdBodies& bodies = bodies_of(device);
  task.x_row_bytes = bodies.prepared_row_bytes(w.dtype, w.k);
  alignas(64) std::byte small[kStackBytes];
  Block block;
  void* rounded = small;
  if (m * task.x_row_bytes > kStackBytes) {
    block = device.memory().allocate(PoolKind::working, static_cast<uint64_t>(m * task.x_row_bytes),
                                     "rounded activations");
    rounded = block.as<void>();
  }
  task.x = rounded;
  split_work(device, m, rows_per_piece(w.k * 6), m * w.k * 6, [&](int64_t begin, int64_t end) {
    bodies.prepare_rows(w.dtype, x, ldx, w.k, begin, end, rounded);
  });
  run(device, task, m);
}

}  // namespace nanochat::simd
