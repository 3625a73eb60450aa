#include "image_file.h"

#include <memory>
#include <string_view>

#include <png.h>
#include <turbojpeg.h>

#include "failure.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr int64_t kMostPixels = 100'000'000;
constexpr std::string_view kPngStart = "\x89PNG\r\n\x1a\n";
constexpr std::string_view kJpegStart = "\xff\xd8\xff";

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Failure(Exit::loading, path + ": " + what);
}

void check_size(const std::string& path, int64_t width, int64_t height) {
  if (width * height <= kMostPixels) return;
  refuse(path, "a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                   " pixels, expected " + std::to_string(kMostPixels) + " at most");
}

Picture read_png(const std::string& path, const std::string& bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, decltype(&png_image_free)> freed(&image, png_image_free);
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0)
    refuse(path, std::string("no valid PNG: ") + image.message);
  check_size(path, image.width, image.height);
  image.format = PNG_FORMAT_RGBA;  // without the last, libpng would blend the picture with black
  std::vector<uint8_t> rgba(PNG_IMAGE_SIZE(image));
  if (png_image_finish_read(&image, nullptr, rgba.data(), 0, nullptr) == 0)
    refuse(path, std::string("no valid PNG: ") + image.message);
  Picture picture{image.width, image.height, {}};
  picture.rgb.reserve(rgba.size() / 4 * 3);
  for (size_t i = 0; i < rgba.size(); i += 4)
    picture.rgb.insert(picture.rgb.end(), rgba.begin() + static_cast<ptrdiff_t>(i),
                       rgba.begin() + static_cast<ptrdiff_t>(i) + 3);
  return picture;
}

Picture read_jpeg(const std::string& path, const std::string& bytes) {
  const std::unique_ptr<void, int (*)(tjhandle)> decoder(tjInitDecompress(), tjDestroy);
  if (decoder == nullptr) refuse(path, "the JPEG decoder cannot start");
  const auto fail = [&] { refuse(path, std::string("no valid JPEG: ") + tjGetErrorStr2(decoder.get())); };
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, subsampling = 0, colours = 0;
  if (tjDecompressHeader3(decoder.get(), data, bytes.size(), &width, &height, &subsampling, &colours) != 0)
    fail();
  check_size(path, width, height);
  if (colours == TJCS_CMYK || colours == TJCS_YCCK)
    refuse(path, "a JPEG of four colours, expected RGB or grey");
  Picture picture{width, height, {}};
  picture.rgb.resize(static_cast<size_t>(3 * picture.width * picture.height));
  if (tjDecompress2(decoder.get(), data, bytes.size(), picture.rgb.data(), width, 3 * width, height, TJPF_RGB,
                    TJFLAG_ACCURATEDCT) != 0) {
    fail();
  }
  return picture;
}

}  // namespace

Picture read_picture(const std::string& path) {
  const std::string bytes = read_whole(path);
  if (bytes.starts_with(kPngStart)) return read_png(path, bytes);
  if (bytes.starts_with(kJpegStart)) return read_jpeg(path, bytes);
  refuse(path, "neither PNG nor JPEG");
}

}  // namespace nanochat::cli
