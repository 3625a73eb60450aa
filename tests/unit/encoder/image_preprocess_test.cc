// Images against Pillow's pixels, and those that are refused.
#include "encoder/image_preprocess.h"

#include <cstring>
#include <limits>

#include "base/error.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

// As tests/tools/make_image_vectors.py: noise and ramps in squares of 8.
std::vector<uint8_t> make_pixels(int64_t width, int64_t height, int64_t stride) {
  std::vector<uint8_t> bytes(static_cast<size_t>((height - 1) * stride + width * 3), 77);
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      for (uint32_t c = 0; c < 3; ++c) {
        const auto x = static_cast<uint32_t>(column), y = static_cast<uint32_t>(row);
        const uint32_t noise = ((x * 73856093U ^ y * 19349663U ^ c * 83492791U) * 2654435761U) >> 24;
        const uint32_t ramp = 3 * x + 5 * y + 50 * c;
        bytes[static_cast<size_t>(row * stride + column * 3 + c)] =
            static_cast<uint8_t>((x / 8 + y / 8) % 2 == 1 ? ramp : noise);
      }
    }
  }
  return bytes;
}

const SafetensorsFile& expected_images() {
  static const SafetensorsFile file(std::string(NANOCHAT_TEST_DATA) + "/images/expected.safetensors");
  return file;
}

TEST(ImagePreprocessing, ResizesAndCropsToPillowsPixels) {
  size_t n_cases = 0;
  for (const TensorInfo& info : expected_images().tensors()) {
    long long width = 0, height = 0, edge = 0, crop = 0;
    if (std::sscanf(info.name.c_str(), "%lldx%lld_%lld_%lld", &width, &height, &edge, &crop) != 4) continue;
    ++n_cases;
    for (const int64_t padding : {0, 5}) {
      const std::vector<uint8_t> bytes = make_pixels(width, height, width * 3 + padding);
      ImagePreprocessConfig config;
      config.shortest_edge = edge;
      config.crop_width = config.crop_height = crop;
      config.rescale_factor = 1.0;
      config.mean = {0, 0, 0};
      config.deviation = {1, 1, 1};
      const RgbImage image{bytes, width, height, padding == 0 ? 0 : width * 3 + padding};
      const std::vector<float> values = preprocess_image(image, config, nullptr);
      const auto* const expected = static_cast<const uint8_t*>(expected_images().view(info).data);
      const auto n = static_cast<size_t>(crop * crop);
      size_t n_wrong = 0;
      for (size_t i = 0; i < 3 * n; ++i)
        n_wrong += values[i] != static_cast<float>(expected[i % n * 3 + i / n]);
      EXPECT_EQ(n_wrong, 0u) << info.name;
    }
  }
  EXPECT_EQ(n_cases, 11u);
}

TEST(ImagePreprocessing, NormalisesToTheProcessorsFloats) {
  ImagePreprocessConfig config;
  config.shortest_edge = config.crop_width = config.crop_height = 32;
  const std::vector<uint8_t> bytes = make_pixels(100, 75, 300);
  const std::vector<float> values = preprocess_image({bytes, 100, 75, 0}, config, nullptr);
  EXPECT_TRUE(same_bits(values, floats_of(expected_images(), "normalised")));
}

TEST(ImagePreprocessing, GivesTheSameBitsWithThreads) {
  const std::vector<uint8_t> bytes = make_pixels(640, 480, 640 * 3);
  ThreadPool::Options options;
  options.n_threads = 3;
  ThreadPool pool(options);
  const RgbImage image{bytes, 640, 480, 0};
  EXPECT_TRUE(same_bits(preprocess_image(image, {}, &pool), preprocess_image(image, {}, nullptr)));
  EXPECT_EQ(preprocess_image(image, {}, nullptr).size(), 3u * 224 * 224);
}

std::string refusal_of(const RgbImage& image) {
  try {
    preprocess_image(image, {}, nullptr);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    return error.message();
  }
  return "accepted";
}

TEST(ImagePreprocessing, RefusesImagesThatAreNone) {
  const std::vector<uint8_t> bytes(300000, 1);
  EXPECT_EQ(refusal_of({bytes, 0, 10, 0}), "the image is 0 x 10, expected 1 x 1 at least");
  EXPECT_EQ(refusal_of({bytes, 10, -1, 0}), "the image is 10 x -1, expected 1 x 1 at least");
  EXPECT_EQ(refusal_of({bytes, 100000, 1, 0}),
            "the image is 100000 x 1, expected one side at most 200 times the other");
  EXPECT_EQ(refusal_of({bytes, 1, 201, 0}),
            "the image is 1 x 201, expected one side at most 200 times the other");
  EXPECT_EQ(refusal_of({bytes, 20000, 20000, 0}),
            "the image is 20000 x 20000, expected 100000000 pixels at most");
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_NE(refusal_of({bytes, most, most, 0}).find("expected 100000000 pixels"), std::string::npos);
  EXPECT_EQ(refusal_of({bytes, 100, 100, 299}), "the image has a stride of 299 bytes, expected 300 at least");
  EXPECT_EQ(refusal_of({bytes, 100, 100, -300}),
            "the image has a stride of -300 bytes, expected 300 at least");
  EXPECT_EQ(refusal_of({std::span(bytes).first(29999), 100, 100, 0}),
            "the image of 100 x 100 with a stride of 300 has 29999 bytes, which is too few");
  EXPECT_NE(refusal_of({bytes, 100, 100, most}).find("too few"), std::string::npos);
  EXPECT_EQ(refusal_of({std::span(bytes).first(99 * 310 + 300), 100, 100, 310}), "accepted");
  EXPECT_EQ(refusal_of({{}, 1, 1, 0}), "the image of 1 x 1 with a stride of 3 has 0 bytes, which is too few");
}

TEST(PixelValues, MustBeFiniteAndAsManyAsImagesHave) {
  ImagePreprocessConfig config;
  config.crop_width = config.crop_height = 4;
  std::vector<float> values(2 * 48, 0.5F);
  check_pixel_values(values, 2, config);
  values[48 + 7] = std::nanf("");
  try {
    check_pixel_values(values, 2, config);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "image 1: pixel value 7 is nan, expected a finite number");
  }
  EXPECT_THROW(check_pixel_values(values, 1, config), Error);
  EXPECT_THROW(check_pixel_values(values, 0, config), Error);
  EXPECT_THROW(check_pixel_values({}, 0, config), Error);
}

ImagePreprocessConfig parse(const std::string& text) {
  return parse_image_config(parse_json(text, "preprocessor_config.json"), "preprocessor_config.json");
}

TEST(ImageConfig, ReadsBothWaysOfWritingSizes) {
  const ImagePreprocessConfig old = parse(
      R"({"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "resample": 3, "size": 224,
          "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
          "image_std": [0.26862954, 0.26130258, 0.27577711]})");
  EXPECT_EQ(old.shortest_edge, 224);
  EXPECT_EQ(old.crop_height, 224);
  EXPECT_EQ(old.mean[2], 0.40821073);
  const ImagePreprocessConfig recent = parse(
      R"({"crop_size": {"height": 30, "width": 20}, "size": {"shortest_edge": 32}, "image_mean": [0.5, 0.4, 0.3],
          "image_std": [1, 2, 3], "rescale_factor": 0.00392156862745098})");
  EXPECT_EQ(recent.shortest_edge, 32);
  EXPECT_EQ(recent.crop_height, 30);
  EXPECT_EQ(recent.crop_width, 20);
  EXPECT_EQ(recent.deviation[2], 3.0);
  EXPECT_EQ(recent.n_values(), 1800);
  const ImagePreprocessConfig exact = parse(
      R"({"size": {"height": 48, "width": 64}, "crop_size": 48, "do_normalize": false, "do_rescale": false})");
  EXPECT_EQ(exact.shortest_edge, 0);
  EXPECT_EQ(exact.resize_width, 64);
  EXPECT_EQ(exact.rescale_factor, 1.0);
  EXPECT_EQ(exact.mean[0], 0.0);
  const std::vector<uint8_t> bytes = make_pixels(9, 70, 27);
  EXPECT_EQ(preprocess_image({bytes, 9, 70, 0}, exact, nullptr).size(), 3u * 48 * 48);
}

TEST(ImageConfig, RefusesWhatItCannotDoByName) {
  const std::pair<const char*, const char*> bad[] = {
      {R"({"resample": 2})", "resample"},
      {R"({"do_resize": false})", "do_resize"},
      {R"({"do_center_crop": false})", "do_center_crop"},
      {R"({"size": 0})", "size"},
      {R"({"size": {"longest_edge": 5, "shortest_edge": 3}})", "longest_edge"},
      {R"({"size": 100, "crop_size": 101})", "crop_size"},
      {R"({"size": "large"})", "size"},
      {R"({"image_mean": [1, 2]})", "image_mean"},
      {R"({"image_std": [1, 2, 0]})", "image_std"},
      {R"({"image_std": [1, 2, "x"]})", "image_std"},
      {R"({"rescale_factor": 0})", "rescale_factor"},
      {R"([])", "document"},
  };
  for (const auto& [text, name] : bad) {
    try {
      parse(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::config_invalid);
      EXPECT_NE(error.message().find(name), std::string::npos) << error.message();
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
