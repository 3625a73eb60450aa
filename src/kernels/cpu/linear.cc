#include "kernels/cpu/reference.h"
#include "kernels/elements.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

// One row of x against one panel: 64 sums, each over ascending k.
void panel_sums(const PackedMatrix& w, int64_t panel, const float* x, float* sums) {
  const int64_t first = packed_index(w, panel * PackedMatrix::kPanel, 0);
  for (int64_t lane = 0; lane < PackedMatrix::kPanel; ++lane) sums[lane] = 0.0F;
  for (int64_t k = 0; k < w.k; ++k) {
    if (w.dtype == DType::bf16) {
      const auto* pairs =
          static_cast<const uint16_t*>(w.data) + first + k / 2 * PackedMatrix::kPanel * 2 + k % 2;
      const float rounded = float_from_bf16(bf16_from_float(x[k]));
      for (int64_t lane = 0; lane < PackedMatrix::kPanel; ++lane) {
        sums[lane] += rounded * float_from_bf16(pairs[lane * 2]);
      }
    } else {
      const float* row = static_cast<const float*>(w.data) + first + k * PackedMatrix::kPanel;
      for (int64_t lane = 0; lane < PackedMatrix::kPanel; ++lane) sums[lane] += x[k] * row[lane];
    }
  }
}

}  // namespace

void linear(Device& device, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
            int64_t ldy, LinearOutput output) {
  const int64_t n_panels = (w.n + PackedMatrix::kPanel - 1) / PackedMatrix::kPanel;
  device.threads().parallel_for(n_panels, 1, [&](int64_t begin, int64_t end) {
    float sums[PackedMatrix::kPanel];
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * PackedMatrix::kPanel;
      const int64_t width = std::min(PackedMatrix::kPanel, w.n - first);
      for (int64_t row = 0; row < m; ++row) {
        panel_sums(w, panel, x + row * ldx, sums);
        float* out = y + row * ldy + first;
        for (int64_t lane = 0; lane < width; ++lane) {
          out[lane] = output == LinearOutput::add ? out[lane] + sums[lane] : sums[lane];
        }
      }
    }
  });
}

}  // namespace nanochat::reference
