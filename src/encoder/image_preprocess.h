// From pixels to what CLIP's vision tower takes: the shorter side to 224 (bicubic), the middle 224 x 224, to
// 0..1, minus mean, over deviation. The numbers are those of Pillow and transformers' CLIPImageProcessor.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "encoder/image_resample.h"

namespace nanochat {

struct ImagePreprocessConfig {
  int64_t shortest_edge = 224;                  // 0: every image is resized to exactly the two below
  int64_t resize_width = 0, resize_height = 0;  // where shortest_edge is 0
  int64_t crop_width = 224, crop_height = 224;
  double rescale_factor = 1.0 / 255.0;  // 1: pixels stay 0..255
  std::array<double, 3> mean = {0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> deviation = {0.26862954, 0.26130258, 0.27577711};

  int64_t n_values() const { return kColours * crop_height * crop_width; }
};

inline constexpr int64_t kMostPixels = 100'000'000;  // of an image
inline constexpr int64_t kMostAspect = 200;          // longer side over shorter

// Of preprocessor_config.json. Throws config_invalid naming field, value and expectation: another filter than
// bicubic, steps switched off that the model needs, a crop larger than the resized image.
ImagePreprocessConfig parse_image_config(const Json& document, std::string_view file_name);

// [3][crop_height][crop_width]. Throws invalid_argument: a side below 1, more than kMostPixels, sides further
// apart than kMostAspect, a buffer or stride too short; each with both values. `pool` may be nullptr; the
// bits do not depend on it.
std::vector<float> preprocess_image(const RgbImage& image, const ImagePreprocessConfig& config,
                                    ThreadPool* pool);

// For pixels that somebody else normalised, [n_images][3][crop_height][crop_width]: throws invalid_argument
// for another number of values, and for one that is not finite, naming image and index.
void check_pixel_values(std::span<const float> values, int64_t n_images, const ImagePreprocessConfig& config);

}  // namespace nanochat
