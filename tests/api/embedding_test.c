/* Embeddings: texts and token lists to vectors. */
#include <math.h>

#include "check.h"

static nanochat_model *model;
static nanochat_tokenizer *tokenizer;

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += (double)a[i] * b[i];
  return sum;
}

static void test_texts_become_unit_vectors_near_what_they_resemble(void) {
  nanochat_error *error = NULL;
  nanochat_embeddings *embeddings = NULL;
  const char *texts[] = {"Once upon a time, there was a little girl named Lily.",
                         "Once upon a time, there was a little boy named Tim.", "the the the, and, and, and"};
  CHECK_OK(nanochat_embed_text(model, tokenizer, texts, NULL, 3, NULL, &embeddings, &error));
  CHECK(nanochat_embeddings_count(embeddings) == 3);
  const size_t width = nanochat_embeddings_width(embeddings);
  CHECK(width == 64);
  const float *girl = nanochat_embeddings_values(embeddings, 0);
  const float *boy = nanochat_embeddings_values(embeddings, 1);
  const float *other = nanochat_embeddings_values(embeddings, 2);
  CHECK(nanochat_embeddings_rows(embeddings, 0) == 1);
  CHECK(nanochat_embeddings_tokens(embeddings, 0) > 10);
  CHECK(fabs(dot(girl, girl, width) - 1.0) < 1e-6);
  CHECK(dot(girl, boy, width) > dot(girl, other, width));
  nanochat_embeddings_free(embeddings);
}

static void test_token_lists_give_what_their_text_gives(void) {
  nanochat_error *error = NULL;
  const char *text = "Once upon a time";
  const size_t text_size = 16;
  int32_t ids[32];
  size_t n = 0;
  CHECK_OK(nanochat_tokenizer_encode(tokenizer, text, text_size, NANOCHAT_ENCODE_ADD_SPECIALS, ids, 32, &n, &error));
  const int32_t *inputs[] = {ids};
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  options.pooling = NANOCHAT_POOLING_NONE;
  options.normalization = NANOCHAT_NORMALIZATION_NONE;
  nanochat_embeddings *from_ids = NULL;
  nanochat_embeddings *from_text = NULL;
  CHECK_OK(nanochat_embed(model, inputs, &n, 1, &options, &from_ids, &error));
  CHECK_OK(nanochat_embed_text(model, tokenizer, &text, &text_size, 1, &options, &from_text, &error));
  CHECK(nanochat_embeddings_rows(from_ids, 0) == n);
  CHECK(nanochat_embeddings_rows(from_text, 0) == n);
  CHECK(memcmp(nanochat_embeddings_values(from_ids, 0), nanochat_embeddings_values(from_text, 0),
               n * 64 * sizeof(float)) == 0);
  nanochat_embeddings_free(from_ids);
  nanochat_embeddings_free(from_text);
}

static void test_bad_input_is_refused_by_name(void) {
  nanochat_error *error = NULL;
  nanochat_embeddings *embeddings = NULL;
  const int32_t ids[] = {1, 99999};
  const int32_t *inputs[] = {ids, ids};
  const size_t good_and_bad[] = {1, 2};
  const size_t empty[] = {1, 0};
  CHECK_SAYS(nanochat_embed(model, inputs, good_and_bad, 2, NULL, &embeddings, &error), NANOCHAT_STATUS_OUT_OF_RANGE,
             "input 1", "99999");
  CHECK_SAYS(nanochat_embed(model, inputs, empty, 2, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "input 1", "no tokens");
  CHECK_STATUS(nanochat_embed(NULL, inputs, empty, 2, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_embed(model, NULL, empty, 2, NULL, &embeddings, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_embed(model, inputs, empty, 2, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_embed_text(model, NULL, NULL, NULL, 0, NULL, &embeddings, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  options.pooling = 7;
  CHECK_SAYS(nanochat_embed(model, inputs, good_and_bad, 1, &options, &embeddings, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "pooling", "7");
  CHECK(embeddings == NULL);
  CHECK_OK(nanochat_embed(model, NULL, NULL, 0, NULL, &embeddings, &error));
  CHECK(nanochat_embeddings_count(embeddings) == 0);
  CHECK(nanochat_embeddings_values(embeddings, 0) == NULL);
  CHECK(nanochat_embeddings_rows(NULL, 0) == 0);
  nanochat_embeddings_free(embeddings);
  nanochat_embeddings_free(NULL);
}

int main(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = make_runtime(2);
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error));
  if (model == NULL || tokenizer == NULL) return 1;
  nanochat_runtime_free(runtime);
  test_texts_become_unit_vectors_near_what_they_resemble();
  test_token_lists_give_what_their_text_gives();
  test_bad_input_is_refused_by_name();
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  return finish_checks();
}
