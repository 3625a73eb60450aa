/* Images to vectors. */
#include <math.h>

#include "check.h"
#include "tensor_file.h"

#define CLIP NANOCHAT_TEST_DATA "/models/encoder_clip"

static nanochat_model *model;

static void test_normalized_values_give_the_vectors_of_transformers(void) {
  nanochat_error *error = NULL;
  struct tensor pixels = read_tensor(CLIP "/expected.safetensors", "pixels");
  struct tensor expected = read_tensor(CLIP "/expected.safetensors", "image");
  const size_t size = pixels.size / 2;
  nanochat_image images[2];
  nanochat_embeddings *embeddings = NULL;
  for (size_t i = 0; i < 2; ++i) {
    const nanochat_image image = {(char *)pixels.data + i * size, size, 24, 24, 0, NANOCHAT_IMAGE_NORMALIZED, 3};
    images[i] = image;
  }
  CHECK_OK(nanochat_embed_images(model, images, 2, NULL, &embeddings, &error));
  CHECK(nanochat_embeddings_count(embeddings) == 2 && nanochat_embeddings_width(embeddings) == 20);
  for (size_t i = 0; i < 40; ++i) {
    const float value = nanochat_embeddings_values(embeddings, i / 20)[i % 20];
    CHECK(fabsf(value - ((float *)expected.data)[i]) < 2e-5f);
  }
  nanochat_embeddings_free(embeddings);
  embeddings = NULL;
  ((float *)pixels.data)[5] = NAN;
  CHECK_SAYS(nanochat_embed_images(model, images, 2, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "image 0", "value 5");
  images[1].width = 25;
  CHECK_SAYS(nanochat_embed_images(model, images + 1, 1, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "image 0", "24 x 25");
  CHECK(embeddings == NULL);
  free(pixels.data);
  free(expected.data);
}

static void test_rgb_images_are_resized_and_normalised(void) {
  enum { kWidth = 50, kHeight = 30, kRow = kWidth * 3 + 10 };
  nanochat_error *error = NULL;
  static uint8_t wide[kHeight * kRow], tight[kHeight * kWidth * 3];
  nanochat_image images[2] = {{wide, sizeof wide, kWidth, kHeight, kRow, 0, 0},
                              {tight, sizeof tight, kWidth, kHeight, 0, 0, 3}};
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  nanochat_embeddings *embeddings = NULL;
  for (size_t i = 0; i < sizeof tight; ++i) {
    tight[i] = (uint8_t)(i * 7 + i / 97);
    wide[i / (kWidth * 3) * kRow + i % (kWidth * 3)] = tight[i];
  }
  options.normalization = NANOCHAT_NORMALIZATION_L2;
  CHECK_OK(nanochat_embed_images(model, images, 2, &options, &embeddings, &error));
  const float *first = nanochat_embeddings_values(embeddings, 0);
  const float *second = nanochat_embeddings_values(embeddings, 1);
  double squares = 0;
  for (size_t i = 0; i < 20; ++i) squares += (double)first[i] * first[i];
  CHECK(fabs(squares - 1) < 1e-6);
  CHECK(memcmp(first, second, 20 * sizeof(float)) == 0);
  nanochat_embeddings_free(embeddings);
}

static void test_bad_images_are_refused_with_their_index_and_values(void) {
  nanochat_error *error = NULL;
  static uint8_t bytes[300003];
  static const struct {
    int64_t width, height;
    size_t size;
    int32_t channels;
    const char *word1, *word2;
  } cases[] = {{0, 10, 300, 0, "image 1", "0"},
               {10, -1, 300, 0, "image 1", "-1"},
               {100000, 1, 300003, 0, "100000", "200"},
               {10, 10, 299, 0, "299", "stride of 30"},
               {10, 10, 300, 4, "4 channels", "3"}};
  for (size_t i = 0; i < 5; ++i) {
    const nanochat_image images[2] = {
        {bytes, 300, 10, 10, 0, 0, 0},
        {bytes, cases[i].size, cases[i].width, cases[i].height, 0, 0, cases[i].channels}};
    nanochat_embeddings *embeddings = NULL;
    CHECK_SAYS(nanochat_embed_images(model, images, 2, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
               cases[i].word1, cases[i].word2);
    CHECK(embeddings == NULL);
  }
  nanochat_image image = {NULL, 300, 10, 10, 0, 0, 0};
  nanochat_embeddings *embeddings = NULL;
  CHECK_SAYS(nanochat_embed_images(model, &image, 1, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "data",
             "NULL");
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  options.truncate = 1;
  CHECK_SAYS(nanochat_embed_images(model, &image, 1, &options, &embeddings, &error), NANOCHAT_STATUS_UNSUPPORTED,
             "truncate", "images");
  CHECK(embeddings == NULL);
}

int main(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = make_runtime(2);
  CHECK_OK(nanochat_model_load(runtime, CLIP, NULL, &model, &error));
  if (model == NULL) return 1;
  nanochat_runtime_free(runtime);
  test_normalized_values_give_the_vectors_of_transformers();
  test_rgb_images_are_resized_and_normalised();
  test_bad_images_are_refused_with_their_index_and_values();
  nanochat_model_free(model);
  return finish_checks();
}
