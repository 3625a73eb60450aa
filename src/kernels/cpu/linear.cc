#include <cmath>
#include <vector>

#include "kernels/cpu/reference.h"
#include "kernels/elements.h"
#include "kernels/int8.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

namespace {

// The same for f8_e4m3: sums over the codes' values, their scales last.
void f8_panel_sums(const PackedMatrix& w, int64_t panel, const float* x, float* sums) {
  const auto* codes = static_cast<const uint8_t*>(w.data);
  for (int64_t lane = 0; lane < PackedMatrix::kPanel; ++lane) {
    const int64_t row = panel * PackedMatrix::kPanel + lane;
    float sum = 0.0F;
    for (int64_t k = 0; k < w.k; ++k) {
      sum += float_from_bf16(bf16_from_float(x[k])) * float_from_f8(codes[packed_index(w, row, k)]);
    }
    sums[lane] = *packed_scale(w, row) * sum;
  }
}

// One row of x against one panel: 64 sums, each over ascending k.
void panel_sums(const PackedMatrix& w, int64_t panel, const float* x, float* sums) {
  if (w.dtype == DType::f8_e4m3) return f8_panel_sums(w, panel, x, sums);
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

// A row of x as i8 weights see it.
struct Int8Row {
  std::vector<int32_t> values;
  std::vector<float> scales;  // of each group
};

Int8Row rounded_row(const float* x, int64_t k) {
  Int8Row row;
  for (int64_t first = 0; first < k; first += PackedMatrix::kInt8Group) {
    const int64_t end = std::min(k, first + PackedMatrix::kInt8Group);
    float largest = 0.0F;
    bool finite = true;
    for (int64_t i = first; i < end; ++i) {
      finite = finite && is_finite(x[i]);
      largest = std::max(largest, std::abs(x[i]));
    }
    const bool is_zero = !finite || largest < kLeastInt8Input;
    const float inverse = is_zero ? 0.0F : 127.0F / largest;
    for (int64_t i = first; i < end; ++i) {
      row.values.push_back(is_zero ? 0 : static_cast<int32_t>(std::nearbyint(x[i] * inverse)));
    }
    row.scales.push_back(finite ? (is_zero ? 0.0F : int8_scale(largest)) : NAN);
  }
  return row;
}

void int8_panel_sums(const PackedMatrix& w, int64_t panel, const Int8Row& x, float* sums) {
  for (int64_t lane = 0; lane < PackedMatrix::kPanel; ++lane) {
    const int64_t row = panel * PackedMatrix::kPanel + lane;
    const auto* data = static_cast<const uint8_t*>(w.data);
    float chain = 0.0F;
    for (int64_t first = 0; first < w.k; first += PackedMatrix::kInt8Group) {
      const int64_t end = std::min(w.k, first + PackedMatrix::kInt8Group);
      int32_t sum = 0;
      for (int64_t k = first; k < end; ++k) {
        sum += (data[packed_index(w, row, k)] - 128) * x.values[static_cast<size_t>(k)];
      }
      chain = std::fma(static_cast<float>(sum),
                       x.scales[static_cast<size_t>(first / PackedMatrix::kInt8Group)], chain);
    }
    sums[lane] = *packed_scale(w, row) * chain;
  }
}

}  // namespace

void linear(Device& device, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
            int64_t ldy, LinearOutput output) {
  const int64_t n_panels = (w.n + PackedMatrix::kPanel - 1) / PackedMatrix::kPanel;
  std::vector<Int8Row> rounded;
  for (int64_t row = 0; row < m && w.dtype == DType::i8; ++row) {
    rounded.push_back(rounded_row(x + row * ldx, w.k));
  }
  device.threads().parallel_for(n_panels, 1, [&](int64_t begin, int64_t end) {
    float sums[PackedMatrix::kPanel];
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * PackedMatrix::kPanel;
      const int64_t width = std::min(PackedMatrix::kPanel, w.n - first);
      for (int64_t row = 0; row < m; ++row) {
        if (w.dtype == DType::i8) {
          int8_panel_sums(w, panel, rounded[static_cast<size_t>(row)], sums);
        } else {
          panel_sums(w, panel, x + row * ldx, sums);
        }
        float* out = y + row * ldy + first;
        for (int64_t lane = 0; lane < width; ++lane) {
          out[lane] = output == LinearOutput::add ? out[lane] + sums[lane] : sums[lane];
        }
      }
    }
  });
}

}  // namespace nanochat::reference
