#include "encoder/image_resample.h"

#include <algorithm>
#include <cmath>

namespace nanochat {

namespace {

constexpr int kWeightBits = 22;  // 8 bits of a pixel, 2 of overshoot, 32 in all
constexpr double kSupport = 2.0;

// Keys' cubic with a = -1/2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// Which source pixels make up an output pixel.
struct Taps {
  int64_t first, n;
  size_t weights;  // index of the first
};

struct Axis {
  std::vector<Taps> outputs;
  std::vector<int32_t> weights;
};

// Outputs first.. of an axis resized from n_in to n_out pixels.
Axis make_axis(int64_t n_in, int64_t n_out, int64_t first, int64_t n) {
  const double scale = static_cast<double>(n_in) / static_cast<double>(n_out);
  const double stretch = std::max(scale, 1.0);
  const double support = kSupport * stretch, shrink = 1.0 / stretch;
  Axis axis;
  std::vector<double> exact;
  for (int64_t out = first; out < first + n; ++out) {
    const double center = (static_cast<double>(out) + 0.5) * scale;
    // Conversions cut towards zero: the lower bound is clamped after that.
    const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(n_in, static_cast<int64_t>(center + support + 0.5));
    exact.clear();
    double sum = 0.0;
    for (int64_t in = begin; in < end; ++in) {
      exact.push_back(cubic((static_cast<double>(in) - center + 0.5) * shrink));
      sum += exact.back();
    }
    axis.outputs.push_back({begin, end - begin, axis.weights.size()});
    for (const double weight : exact) {
      const double scaled = (sum != 0.0 ? weight / sum : weight) * (1 << kWeightBits);
      axis.weights.push_back(static_cast<int32_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return axis;
}

uint8_t rounded_pixel(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

// target [outputs][3] from one row of pixels.
void resize_row(const Axis& axis, const uint8_t* row, uint8_t* target) {
  for (const Taps& taps : axis.outputs) {
    const int32_t* const weights = axis.weights.data() + taps.weights;
    const uint8_t* pixel = row + taps.first * kColours;
    int32_t red = 1 << (kWeightBits - 1), green = red, blue = red;
    for (int64_t i = 0; i < taps.n; ++i, pixel += kColours) {
      red += pixel[0] * weights[i];
      green += pixel[1] * weights[i];
      blue += pixel[2] * weights[i];
    }
    *target++ = rounded_pixel(red);
    *target++ = rounded_pixel(green);
    *target++ = rounded_pixel(blue);
  }
}

void resize_columns(const Axis& axis, const uint8_t* rows, int64_t row_bytes, uint8_t* target) {
  std::vector<int32_t> sums(static_cast<size_t>(row_bytes));
  for (const Taps& taps : axis.outputs) {
    std::fill(sums.begin(), sums.end(), 1 << (kWeightBits - 1));
    for (int64_t i = 0; i < taps.n; ++i) {
      const int32_t weight = axis.weights[taps.weights + static_cast<size_t>(i)];
      const uint8_t* const row = rows + (taps.first + i) * row_bytes;
      for (int64_t at = 0; at < row_bytes; ++at) sums[static_cast<size_t>(at)] += row[at] * weight;
    }
    for (const int32_t sum : sums) *target++ = rounded_pixel(sum);
  }
}

}  // namespace

std::vector<uint8_t> resize_bicubic(const RgbImage& image, int64_t new_width, int64_t new_height,
                                    const PixelBox& box, ThreadPool* pool) {
  const Axis columns = make_axis(image.width, new_width, box.left, box.width);
  Axis rows = make_axis(image.height, new_height, box.top, box.height);
  const int64_t first_row = rows.outputs.front().first;
  const int64_t end_row = rows.outputs.back().first + rows.outputs.back().n;
  for (Taps& taps : rows.outputs) taps.first -= first_row;

  const int64_t stride = image.stride == 0 ? image.width * kColours : image.stride;
  const int64_t row_bytes = box.width * kColours;
  std::vector<uint8_t> narrow(static_cast<size_t>((end_row - first_row) * row_bytes));
  const auto resize_rows = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      resize_row(columns, image.bytes.data() + (first_row + row) * stride, narrow.data() + row * row_bytes);
    }
  };
  constexpr int64_t kRowsByThread = 16;
  if (pool != nullptr) {
    pool->parallel_for(end_row - first_row, kRowsByThread, resize_rows);
  } else {
    resize_rows(0, end_row - first_row);
  }
  std::vector<uint8_t> out(static_cast<size_t>(box.height * row_bytes));
  resize_columns(rows, narrow.data(), row_bytes, out.data());
  return out;
}

}  // namespace nanochat
