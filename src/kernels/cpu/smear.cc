#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

void smear(Device& device, std::span<const SequenceRows> sequences, const float* gate, int64_t n_channels,
           float lambda, const float* x, float* y, int64_t width) {
  for (const SequenceRows& sequence : sequences) {
    const auto rows = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = sequence.first_row + i;
        const float* now = x + row * width;
        const float* before = i == 0 ? sequence.previous : now - width;
        float sum = 0.0F;
        for (int64_t c = 0; c < n_channels; ++c) sum += gate[c] * now[c];
        const float factor = lambda / (1.0F + std::exp(-sum));
        for (int64_t c = 0; c < width; ++c) {
          y[row * width + c] = before == nullptr ? now[c] : now[c] + factor * before[c];
        }
      }
    };
    split_work(device, sequence.n_rows, rows_per_piece(width * 12), sequence.n_rows * width * 12, rows);
  }
}

}  // namespace nanochat::reference
