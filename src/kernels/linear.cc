#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

constexpr int64_t kPanel = PackedMatrix::kPanel;
constexpr int64_t kStackBytes = 16 * 1024;  // x of a decode step is rounded without an allocation
constexpr int64_t kStreamPieceBytes = 128 * 1024;
constexpr int64_t kRowsOfOneStream = 12;  // below, a panel is worth its bytes; above, its arithmetic
constexpr int64_t kUnitsPerThread = 8;
constexpr int64_t kTileRows = 6;  // of all bodies: a group of rows is not to end inside a tile

// How y is cut: units of one panel by `rows` rows, the row groups of a panel next to each other.
struct Grid {
  int64_t n_panels, n_groups, rows;
};

// Panels alone where there are enough; else the rows are cut too. Performance only: the bits are the same.
Grid grid_of(int64_t n_panels, int64_t m, int64_t n_threads) {
  const int64_t wanted = n_threads == 1 ? 1 : n_threads * kUnitsPerThread;
  const int64_t most = std::max<int64_t>(1, m / (2 * kRowsOfOneStream));
  const int64_t groups = std::clamp<int64_t>((wanted + n_panels - 1) / n_panels, 1, most);
  const int64_t rows = ((m + groups - 1) / groups + kTileRows - 1) / kTileRows * kTileRows;
  return {n_panels, (m + rows - 1) / rows, rows};
}

void run(Device& device, const LinearTask& task, int64_t m) {
  const SimdBodies& bodies = bodies_of(device);
  const Grid grid = grid_of((task.n + kPanel - 1) / kPanel, m, device.threads().n_threads());
  const int64_t panel_bytes = PackedMatrix::panel_bytes(task.dtype, task.k);
  const int64_t cost = grid.n_panels * panel_bytes * ((m + kRowsOfOneStream - 1) / kRowsOfOneStream);
  const int64_t grain = m > kRowsOfOneStream ? 1 : rows_per_piece(panel_bytes, kStreamPieceBytes);
  split_work(device, grid.n_panels * grid.n_groups, grain, cost, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first_row = unit % grid.n_groups * grid.rows;
      bodies.linear(task, unit / grid.n_groups, first_row, std::min(m, first_row + grid.rows));
    }
  });
}

}  // namespace

void linear(Device& device, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
            int64_t ldy, LinearOutput output) {
  if (m <= 0 || w.n <= 0) return;
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
