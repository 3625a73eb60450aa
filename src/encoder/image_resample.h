// Bicubic resizing of 8-bit images with the values that Pillow gives: each axis is a weighted sum over the
// source pixels under the (widened, when shrinking) kernel, weights rounded to 22 bits after the point,
// results to 8 bits, first along rows and then along columns.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace nanochat {

inline constexpr int64_t kColours = 3;  // red, green, blue, interleaved

struct RgbImage {
  std::span<const uint8_t> bytes;
  int64_t width = 0, height = 0;
  int64_t stride = 0;  // bytes from row to row; 0: 3 * width
};

struct PixelBox {
  int64_t left, top, width, height;
};

// The pixels `box` of the image resized to new_width x new_height; [box.height][box.width][3]. Only what they
// need is computed. The image must be valid and the box inside. `pool` may be nullptr.
std::vector<uint8_t> resize_bicubic(const RgbImage& image, int64_t new_width, int64_t new_height,
                                    const PixelBox& box, ThreadPool* pool);

}  // namespace nanochat
