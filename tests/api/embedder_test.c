/* The embedders without weights, similarities, and how vectors become parts of a fused row. */
#include <math.h>

#include "check.h"
#include "tensor_file.h"

#define EXPECTED NANOCHAT_TEST_DATA "/embedders/expected.safetensors"

static void test_times_give_the_defined_vectors(void) {
  static const char *const texts[] = {"2026-01-03T12:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.75Z"};
  static const char *const tensors[] = {"recent", "periodic", "positional"};
  nanochat_error *error = NULL;
  double times[3] = {0};
  for (size_t i = 0; i < 3; ++i)
    CHECK_OK(nanochat_time_parse(texts[i], NANOCHAT_NUL_TERMINATED, times + i, &error));
  CHECK(times[0] == 1767441600.0 && times[1] == 0.0 && times[2] == -0.25);
  for (int32_t embedder = 0; embedder < 3; ++embedder) {
    struct tensor expected = read_tensor(EXPECTED, tensors[embedder]);
    nanochat_embeddings *embeddings = NULL;
    CHECK_OK(nanochat_embed_times(embedder, times, 3, 0, &embeddings, &error));
    CHECK(nanochat_embeddings_count(embeddings) == 3 && nanochat_embeddings_width(embeddings) == 512);
    for (size_t i = 0; i < 3 * 512; ++i) {
      const float value = nanochat_embeddings_values(embeddings, i / 512)[i % 512];
      CHECK(fabsf(value - ((float *)expected.data)[i]) < 2e-7f);
    }
    nanochat_embeddings_free(embeddings);
    free(expected.data);
  }
  nanochat_embeddings *embeddings = NULL;
  double seconds = 7;
  const double nan = NAN;
  CHECK_SAYS(nanochat_time_parse("yesterday", NANOCHAT_NUL_TERMINATED, &seconds, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "yesterday", "");
  CHECK(seconds == 7);
  CHECK_STATUS(nanochat_embed_times(0, &nan, 1, 0, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_SAYS(nanochat_embed_times(3, times, 1, 0, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "embedder",
             "3");
  CHECK(embeddings == NULL);
}

static void test_ages_are_measured_to_the_reference(void) {
  nanochat_error *error = NULL;
  const double then = 1000, now = 2000, later = 3000;
  nanochat_embeddings *first = NULL, *second = NULL;
  CHECK_OK(nanochat_embed_times(NANOCHAT_TIME_RECENT, &then, 1, now, &first, &error));
  CHECK_OK(nanochat_embed_times(NANOCHAT_TIME_RECENT, &now, 1, later, &second, &error));
  CHECK(memcmp(nanochat_embeddings_values(first, 0), nanochat_embeddings_values(second, 0), 512 * sizeof(float)) == 0);
  nanochat_embeddings_free(first);
  nanochat_embeddings_free(second);
}

static void test_hypervectors_are_the_defined_bits(void) {
  nanochat_error *error = NULL;
  const char *texts[] = {"hyperdimensional test", "", "a"};
  struct tensor expected = read_tensor(EXPECTED, "hypervectors");
  nanochat_embeddings *embeddings = NULL;
  CHECK_OK(nanochat_embed_hypervectors(texts, NULL, 3, &embeddings, &error));
  CHECK(nanochat_embeddings_width(embeddings) == 10000 && nanochat_embeddings_values(embeddings, 0) == NULL);
  for (size_t i = 0; i < 3; ++i)
    CHECK(memcmp(nanochat_embeddings_bits(embeddings, i), (char *)expected.data + i * 1250, 1250) == 0);
  CHECK(nanochat_embeddings_bits(embeddings, 3) == NULL);
  double same = 0, other = 0;
  const uint8_t *a = nanochat_embeddings_bits(embeddings, 0);
  const uint8_t *b = nanochat_embeddings_bits(embeddings, 2);
  CHECK_OK(nanochat_similarity_hamming(a, 1250, a, 1250, 10000, &same, &error));
  CHECK_OK(nanochat_similarity_hamming(a, 1250, b, 1250, 10000, &other, &error));
  CHECK(same == 1 && other > 0.4 && other < 0.6);
  nanochat_embeddings_free(embeddings);
  free(expected.data);
}

static void test_similarities_name_lengths_that_differ(void) {
  nanochat_error *error = NULL;
  const float a[] = {3, 4}, b[] = {4, 3}, rows[] = {1, 0, 0, 1};
  double similarity = 9;
  CHECK_OK(nanochat_similarity_dot(a, 2, b, 2, &similarity, &error));
  CHECK(similarity == 24);
  CHECK_OK(nanochat_similarity_cosine(a, 2, b, 2, &similarity, &error));
  CHECK(fabs(similarity - 0.96) < 1e-12);
  CHECK_OK(nanochat_similarity_maxsim(rows, 4, a, 2, 2, &similarity, &error));
  CHECK(similarity == 7);
  similarity = 9;
  CHECK_SAYS(nanochat_similarity_dot(a, 2, b, 1, &similarity, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "2", "1");
  CHECK_SAYS(nanochat_similarity_cosine(a, 2, NULL, 2, &similarity, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "'b'",
             "NULL");
  CHECK_STATUS(nanochat_similarity_maxsim(rows, 4, a, 0, 2, &similarity, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_SAYS(nanochat_similarity_maxsim(rows, 4, a, 2, 0, &similarity, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "width",
             "0");
  CHECK_STATUS(nanochat_similarity_maxsim(rows, 3, a, 2, 2, &similarity, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  const uint8_t byte = 1;
  CHECK_STATUS(nanochat_similarity_hamming(&byte, 1, &byte, 1, 9, &similarity, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK(similarity == 9);
}

static void test_the_twelve_parts_fill_the_row(void) {
  nanochat_error *error = NULL;
  nanochat_fusion_input_info info = {0};
  int64_t end = 0;
  info.struct_size = sizeof info;
  for (int32_t number = 1; number <= NANOCHAT_FUSION_INPUTS; ++number) {
    CHECK_OK(nanochat_fusion_input_describe(number, &info, &error));
    CHECK(info.offset == end);
    end += info.fusion_width;
  }
  CHECK(end == NANOCHAT_FUSION_WIDTH);
  CHECK(strcmp(info.id, "E12_LateInteraction") == 0 && info.form == NANOCHAT_FORM_TOKENS && info.native_width == 128);
  CHECK_SAYS(nanochat_fusion_input_describe(13, &info, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "13", "12");
}

static void test_projections_give_the_defined_parts(void) {
  nanochat_error *error = NULL;
  nanochat_projection *code = NULL, *bits = NULL, *recent = NULL;
  struct tensor given = read_tensor(EXPECTED, "code");
  struct tensor expected = read_tensor(EXPECTED, "code_parts");
  float part[1024];
  CHECK_OK(nanochat_projection_create("E7_Code", NULL, &code, &error));
  CHECK_OK(nanochat_projection_apply_values(code, given.data, 256, part, 1024, &error));
  for (size_t i = 0; i < 768; ++i) CHECK(fabsf(part[i] - ((float *)expected.data)[i]) < 1e-6f);
  CHECK_SAYS(nanochat_projection_apply_values(code, given.data, 256, part, 767, &error),
             NANOCHAT_STATUS_BUFFER_TOO_SMALL, "767", "768");
  CHECK_SAYS(nanochat_projection_apply_values(code, given.data, 255, part, 1024, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "255", "256");

  const char *text = "hyperdimensional test";
  nanochat_embeddings *vector = NULL, *time = NULL;
  const double now = 5;
  CHECK_OK(nanochat_embed_hypervectors(&text, NULL, 1, &vector, &error));
  CHECK_OK(nanochat_embed_times(NANOCHAT_TIME_RECENT, &now, 1, 0, &time, &error));
  CHECK_OK(nanochat_projection_create("hdc", NULL, &bits, &error));
  CHECK_OK(nanochat_projection_apply(bits, vector, 0, part, 1024, &error));
  struct tensor hdc = read_tensor(EXPECTED, "hdc_parts");
  for (size_t i = 0; i < 1024; ++i) CHECK(fabsf(part[i] - ((float *)hdc.data)[i]) < 1e-6f);
  CHECK_OK(nanochat_projection_create("E2_TemporalRecent", NULL, &recent, &error));
  CHECK_OK(nanochat_projection_apply(recent, time, 0, part, 512, &error));
  CHECK(memcmp(part, nanochat_embeddings_values(time, 0), 512 * sizeof(float)) == 0);
  part[0] = 7;
  CHECK_STATUS(nanochat_projection_apply(recent, vector, 0, part, 512, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_SAYS(nanochat_projection_apply(code, time, 0, part, 1024, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "512",
             "256");
  CHECK_SAYS(nanochat_projection_apply(recent, time, 1, part, 512, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "input is 1",
             "1");
  CHECK(part[0] == 7);
  nanochat_projection *unknown = NULL;
  CHECK_SAYS(nanochat_projection_create("E99", NULL, &unknown, &error), NANOCHAT_STATUS_NOT_FOUND, "E99", "");
  CHECK_STATUS(nanochat_projection_create("hdc", "there/is/none", &unknown, &error), NANOCHAT_STATUS_FILE_NOT_FOUND);
  CHECK(unknown == NULL);
  nanochat_projection_free(code);
  nanochat_projection_free(bits);
  nanochat_projection_free(recent);
  nanochat_projection_free(NULL);
  nanochat_embeddings_free(vector);
  nanochat_embeddings_free(time);
  free(given.data);
  free(expected.data);
  free(hdc.data);
}

int main(void) {
  test_times_give_the_defined_vectors();
  test_ages_are_measured_to_the_reference();
  test_hypervectors_are_the_defined_bits();
  test_similarities_name_lengths_that_differ();
  test_the_twelve_parts_fill_the_row();
  test_projections_give_the_defined_parts();
  return finish_checks();
}
