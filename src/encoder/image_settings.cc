#include "encoder/image_settings.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

}  // namespace

ImagePreprocessConfig image_preprocessing(const std::string& path, const EncoderConfig& config) {
  ImagePreprocessConfig images;
  if (!config.vision) return images;
  const int64_t size = config.vision->image_size;
  const std::string file = path.empty() ? "" : join_path(path, "preprocessor_config.json");
  if (file.empty() || !file_exists(file)) {
    images.shortest_edge = images.crop_width = images.crop_height = size;
    return images;
  }
  images = parse_image_config(parse_json(read_file(file, kMaxConfigBytes), file), file);
  if (images.crop_width == size && images.crop_height == size) return images;
  throw Error(Status::config_invalid)
      .subject(file)
      .say("{}: makes images of {} x {}, the model takes {} x {}", file, images.crop_width,
           images.crop_height, size, size);
}

}  // namespace nanochat
