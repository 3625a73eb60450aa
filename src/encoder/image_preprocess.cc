#include "encoder/image_preprocess.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/config_reader.h"

namespace nanochat {

namespace {

constexpr Range<int64_t> kEdge{1, 4096};
constexpr int64_t kBicubic = 3;  // Pillow's number

struct Size {
  int64_t width, height;
};

bool is_object(const ConfigReader& reader, std::string_view key) {
  const Json* const value = reader.json().find(key);
  return value != nullptr && value->is_object();
}

// {"height": h, "width": w} or one number for both.
Size read_size(const ConfigReader& reader, std::string_view key) {
  if (!is_object(reader, key)) {
    const int64_t edge = reader.integer(key, kEdge);
    return {edge, edge};
  }
  const ConfigReader size = reader.object(key);
  return {size.integer("width", kEdge), size.integer("height", kEdge)};
}

void read_resize(const ConfigReader& reader, ImagePreprocessConfig& config) {
  if (!reader.has("size")) return;
  if (!is_object(reader, "size")) {
    config.shortest_edge = reader.integer("size", kEdge);
    return;
  }
  const ConfigReader size = reader.object("size");
  if (size.has("shortest_edge")) {
    size.require_absent("longest_edge", "the crop needs the shorter side's size alone");
    config.shortest_edge = size.integer("shortest_edge", kEdge);
    return;
  }
  config.shortest_edge = 0;
  const auto [width, height] = read_size(reader, "size");
  config.resize_width = width;
  config.resize_height = height;
}

std::array<double, 3> read_colours(const ConfigReader& reader, std::string_view key, Range<double> range,
                                   const std::array<double, 3>& fallback) {
  const Json* const list = reader.json().find(key);
  if (list == nullptr || list->is_null()) return fallback;
  const std::string expected = format_text("3 numbers from {} to {}", range.smallest, range.largest);
  if (!list->is_array() || list->size() != 3) reader.refuse(key, expected);
  std::array<double, 3> values{};
  for (size_t i = 0; i < values.size(); ++i) {
    if (!list->at(i).is_number()) reader.refuse(key, expected);
    values[i] = list->at(i).get<double>();
    if (!(values[i] >= range.smallest && values[i] <= range.largest)) reader.refuse(key, expected);
  }
  return values;
}

[[noreturn]] void refuse_image(const std::string& reason) {
  throw Error(Status::invalid_argument).subject("image").say("the image {}", reason);
}

void check_image(const RgbImage& image) {
  const int64_t width = image.width, height = image.height;
  if (width < 1 || height < 1)
    refuse_image(format_text("is {} x {}, expected 1 x 1 at least", width, height));
  if (width > kMostPixels || height > kMostPixels || width * height > kMostPixels) {
    refuse_image(format_text("is {} x {}, expected {} pixels at most", width, height, kMostPixels));
  }
  if (std::max(width, height) > kMostAspect * std::min(width, height)) {
    refuse_image(
        format_text("is {} x {}, expected one side at most {} times the other", width, height, kMostAspect));
  }
  const int64_t row_bytes = width * kColours;
  const int64_t stride = image.stride == 0 ? row_bytes : image.stride;
  if (stride < row_bytes) {
    refuse_image(format_text("has a stride of {} bytes, expected {} at least", stride, row_bytes));
  }
  const uint64_t n_bytes = image.bytes.size();
  const auto wanted_rows = static_cast<uint64_t>(height - 1);
  const auto last = static_cast<uint64_t>(row_bytes);
  if (n_bytes < last || (n_bytes - last) / static_cast<uint64_t>(stride) < wanted_rows) {
    refuse_image(format_text("of {} x {} with a stride of {} has {} bytes, which is too few", width, height,
                             stride, n_bytes));
  }
}

Size resized(const RgbImage& image, const ImagePreprocessConfig& config) {
  const int64_t edge = config.shortest_edge;
  if (edge == 0) return {config.resize_width, config.resize_height};
  // The longer side is cut, not rounded.
  if (image.width <= image.height) return {edge, edge * image.height / image.width};
  return {edge * image.width / image.height, edge};
}

// What each of 256 values becomes. In fp32 from here on, as the reference has it.
std::array<float, 256> normalised_values(const ImagePreprocessConfig& config, size_t colour) {
  const auto mean = static_cast<float>(config.mean[colour]);
  const auto deviation = static_cast<float>(config.deviation[colour]);
  std::array<float, 256> values;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = (static_cast<float>(static_cast<double>(i) * config.rescale_factor) - mean) / deviation;
  }
  return values;
}

}  // namespace

ImagePreprocessConfig parse_image_config(const Json& document, std::string_view file_name) {
  const ConfigReader reader(document, file_name);
  for (const char* const step : {"do_resize", "do_center_crop"}) reader.require_flag(step, true);
  reader.require_integer("resample", kBicubic);
  ImagePreprocessConfig config;
  read_resize(reader, config);
  if (reader.has("crop_size")) {
    const auto [width, height] = read_size(reader, "crop_size");
    config.crop_width = width;
    config.crop_height = height;
  }
  const int64_t least_width = config.shortest_edge == 0 ? config.resize_width : config.shortest_edge;
  const int64_t least_height = config.shortest_edge == 0 ? config.resize_height : config.shortest_edge;
  if (config.crop_width > least_width || config.crop_height > least_height) {
    reader.refuse("crop_size", format_text("{} x {} at most, the size", least_width, least_height));
  }
  config.rescale_factor = reader.flag("do_rescale", true)
                              ? reader.number("rescale_factor", {1e-6, 1e6}, config.rescale_factor)
                              : 1.0;
  if (reader.flag("do_normalize", true)) {
    config.mean = read_colours(reader, "image_mean", {-1e6, 1e6}, config.mean);
    config.deviation = read_colours(reader, "image_std", {1e-6, 1e6}, config.deviation);
  } else {
    config.mean = {0.0, 0.0, 0.0};
    config.deviation = {1.0, 1.0, 1.0};
  }
  return config;
}

std::vector<float> preprocess_image(const RgbImage& image, const ImagePreprocessConfig& config,
                                    ThreadPool* pool) {
  check_image(image);
  const Size size = resized(image, config);
  const PixelBox box{(size.width - config.crop_width) / 2, (size.height - config.crop_height) / 2,
                     config.crop_width, config.crop_height};
  const std::vector<uint8_t> pixels = resize_bicubic(image, size.width, size.height, box, pool);
  std::vector<float> out(static_cast<size_t>(config.n_values()));
  const auto n_pixels = static_cast<size_t>(box.width * box.height);
  for (size_t colour = 0; colour < 3; ++colour) {
    const std::array<float, 256> values = normalised_values(config, colour);
    for (size_t i = 0; i < n_pixels; ++i) out[colour * n_pixels + i] = values[pixels[i * 3 + colour]];
  }
  return out;
}

void check_pixel_values(std::span<const float> values, int64_t n_images,
                        const ImagePreprocessConfig& config) {
  const auto by_image = static_cast<size_t>(config.n_values());
  if (n_images < 1 || values.size() % by_image != 0 ||
      values.size() / by_image != static_cast<uint64_t>(n_images)) {
    throw Error(Status::invalid_argument)
        .subject("pixels")
        .say("{} values, expected {} images of 3 x {} x {}", values.size(), n_images, config.crop_height,
             config.crop_width);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(Status::invalid_argument)
        .subject("pixels")
        .field("image", static_cast<uint64_t>(i / by_image))
        .field("index", static_cast<uint64_t>(i % by_image))
        .say("image {}: pixel value {} is {}, expected a finite number", i / by_image, i % by_image,
             values[i]);
  }
}

}  // namespace nanochat
