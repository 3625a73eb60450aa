/* Batches of texts, texts that grow, tokens that come one after another. */
#include "check.h"

static const char *const kTexts[] = {"Once upon a time", "", "Once"};

static int32_t count_calls(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  CHECK(strcmp(stage, "encode") == 0 && done <= total);
  ++*(int *)user_data;
  return 0;
}

static int32_t stop(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  (void)stage, (void)done, (void)total, (void)user_data;
  return 1;
}

static void test_a_batch_is_what_each_text_gives(const nanochat_tokenizer *tokenizer) {
  nanochat_error *error = NULL;
  nanochat_encoding *encoding = NULL;
  nanochat_encode_options options = NANOCHAT_ENCODE_OPTIONS_INIT;
  int calls = 0;
  size_t n = 0;
  options.flags = NANOCHAT_ENCODE_ADD_SPECIALS;
  options.want_offsets = 1;
  options.progress = count_calls;
  options.progress_user_data = &calls;
  CHECK_OK(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error));
  CHECK(calls > 0);
  CHECK(nanochat_encoding_size(encoding) == 3);
  const int32_t expected[] = {1, 403, 407, 261, 378};
  const int32_t *ids = nanochat_encoding_ids(encoding, 0, &n);
  CHECK(n == 5 && memcmp(ids, expected, sizeof expected) == 0);
  const size_t *offsets = nanochat_encoding_offsets(encoding, 0, &n);
  CHECK(n == 5 && offsets[0] == 0 && offsets[1] == 0 && offsets[9] == 16);
  const uint8_t *mask = nanochat_encoding_attention_mask(encoding, 0, NULL);
  CHECK(mask[0] == 1 && mask[4] == 1);
  CHECK(nanochat_encoding_ids(encoding, 1, &n) != NULL && n == 1);
  CHECK(nanochat_encoding_ids(encoding, 3, &n) == NULL && n == 0);
  nanochat_encoding_free(encoding);
  nanochat_encoding_free(NULL);
  CHECK(nanochat_encoding_size(NULL) == 0 && nanochat_encoding_ids(NULL, 0, NULL) == NULL);

  const size_t sizes[] = {4, 0, 2};
  CHECK_OK(nanochat_tokenizer_encode_batch(tokenizer, kTexts, sizes, 3, NULL, &encoding, &error));
  CHECK(nanochat_encoding_offsets(encoding, 0, &n) == NULL && n == 1);
  nanochat_encoding_free(encoding);
  CHECK_OK(nanochat_tokenizer_encode_batch(tokenizer, NULL, NULL, 0, NULL, &encoding, &error));
  CHECK(nanochat_encoding_size(encoding) == 0);
  nanochat_encoding_free(encoding);
}

static void test_lengths_are_kept(const nanochat_tokenizer *tokenizer) {
  nanochat_error *error = NULL;
  nanochat_encoding *encoding = NULL;
  nanochat_encode_options options = NANOCHAT_ENCODE_OPTIONS_INIT;
  size_t n = 0;
  options.max_tokens = 3;
  CHECK_SAYS(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error),
             NANOCHAT_STATUS_OUT_OF_RANGE, "text 0", "3");
  CHECK(encoding == NULL);
  options.truncation = NANOCHAT_TRUNCATION_KEEP_END;
  CHECK_OK(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error));
  const int32_t *ids = nanochat_encoding_ids(encoding, 0, &n);
  CHECK(n == 3 && ids[0] == 407 && ids[2] == 378);
  nanochat_encoding_free(encoding);
  options.truncation = 9;
  CHECK_SAYS(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "truncation", "9");
  options.truncation = 0;
  options.max_tokens = 0;
  options.padding = 9;
  CHECK_SAYS(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "padding", "9");
  options.padding = NANOCHAT_PADDING_TO_MAX_TOKENS;
  options.max_tokens = ((size_t)1 << 24) + 1;
  CHECK_SAYS(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "16777217", "16777216");
}

static void test_only_the_special_tokens_listed_are_recognised(const nanochat_tokenizer *tokenizer) {
  nanochat_error *error = NULL;
  nanochat_encoding *encoding = NULL;
  nanochat_encode_options options = NANOCHAT_ENCODE_OPTIONS_INIT;
  const char *text = "<s></s>";
  const char *const allowed[] = {"</s>"};
  const char *const nobody[] = {"<nobody>"};
  size_t n = 0;
  options.allowed_specials = allowed;
  options.n_allowed_specials = 1;
  CHECK_OK(nanochat_tokenizer_encode_batch(tokenizer, &text, NULL, 1, &options, &encoding, &error));
  const int32_t *ids = nanochat_encoding_ids(encoding, 0, &n);
  CHECK(n > 2 && ids[n - 1] == nanochat_tokenizer_special_id(tokenizer, "</s>"));
  CHECK(ids[0] != nanochat_tokenizer_special_id(tokenizer, "<s>"));
  nanochat_encoding_free(encoding);
  options.flags = NANOCHAT_ENCODE_SPECIALS_IN_TEXT;
  CHECK_STATUS(nanochat_tokenizer_encode_batch(tokenizer, &text, NULL, 1, &options, &encoding, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  options.flags = 0;
  options.allowed_specials = nobody;
  CHECK_SAYS(nanochat_tokenizer_encode_batch(tokenizer, &text, NULL, 1, &options, &encoding, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "<nobody>", "special token");
}

static void test_a_batch_can_be_stopped(const nanochat_tokenizer *tokenizer) {
  nanochat_error *error = NULL;
  nanochat_encoding *encoding = NULL;
  nanochat_encode_options options = NANOCHAT_ENCODE_OPTIONS_INIT;
  options.progress = stop;
  CHECK_STATUS(nanochat_tokenizer_encode_batch(tokenizer, kTexts, NULL, 3, &options, &encoding, &error),
               NANOCHAT_STATUS_CANCELLED);
  CHECK(encoding == NULL);
}

static void test_a_growing_text_has_the_ids_of_all_of_it(const nanochat_tokenizer *tokenizer) {
  nanochat_error *error = NULL;
  nanochat_text_encoder *encoder = NULL;
  const int32_t *ids = NULL;
  size_t n = 9, n_final = 9;
  CHECK_OK(nanochat_text_encoder_create(tokenizer, NANOCHAT_ENCODE_ADD_SPECIALS, &encoder, &error));
  CHECK_OK(nanochat_text_encoder_append(encoder, "Once up", NANOCHAT_NUL_TERMINATED, &error));
  CHECK_OK(nanochat_text_encoder_ids(encoder, &ids, &n, &n_final, &error));
  CHECK(n_final <= n);
  CHECK_OK(nanochat_text_encoder_append(encoder, "on a time", 9, &error));
  CHECK_OK(nanochat_text_encoder_ids(encoder, &ids, &n, NULL, &error));
  const int32_t expected[] = {1, 403, 407, 261, 378};
  CHECK(n == 5 && memcmp(ids, expected, sizeof expected) == 0);
  CHECK_SAYS(nanochat_text_encoder_append(encoder, NULL, 1, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "text", "NULL");
  CHECK_SAYS(nanochat_text_encoder_ids(encoder, NULL, &n, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_ids",
             "NULL");
  CHECK_SAYS(nanochat_text_encoder_create(tokenizer, 8, &encoder, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "flags",
             "8");
  nanochat_text_encoder_free(encoder);
  nanochat_text_encoder_free(NULL);
}

static void test_tokens_become_text_as_they_come(const nanochat_tokenizer *tokenizer) {
  nanochat_error *error = NULL;
  nanochat_text_decoder *decoder = NULL;
  nanochat_text_decoder_options options = NANOCHAT_TEXT_DECODER_OPTIONS_INIT;
  const char *text = NULL;
  size_t size = 0, n = 0;
  int32_t ids[8];
  options.skip_specials = 1;
  CHECK_OK(nanochat_text_decoder_create(tokenizer, &options, &decoder, &error));
  CHECK_OK(nanochat_tokenizer_encode(tokenizer, "\xf0\x9f\x98\x80!", 5, NANOCHAT_ENCODE_ADD_SPECIALS, ids, 8, &n, &error));
  CHECK(n == 7); /* bos, a space, four bytes, the mark */
  CHECK_OK(nanochat_text_decoder_push(decoder, ids, 4, &text, &size, &error));
  CHECK(size == 0 && text[0] == '\0');
  CHECK_OK(nanochat_text_decoder_push(decoder, ids + 4, 3, &text, &size, &error));
  CHECK(size == 5 && strcmp(text, "\xf0\x9f\x98\x80!") == 0);
  const int32_t bad[] = {ids[6], 99999};
  CHECK_SAYS(nanochat_text_decoder_push(decoder, bad, 2, &text, &size, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "99999",
             "512");
  CHECK_OK(nanochat_text_decoder_push(decoder, ids + 2, 2, &text, &size, &error));
  CHECK(size == 0);
  CHECK_OK(nanochat_text_decoder_finish(decoder, &text, &size, &error));
  CHECK(strcmp(text, "\xef\xbf\xbd") == 0 && size == 3);
  CHECK_OK(nanochat_text_decoder_push(decoder, NULL, 0, &text, &size, &error));
  CHECK(size == 0);
  nanochat_text_decoder_free(decoder);
  options.exact_bytes = 1;
  CHECK_OK(nanochat_text_decoder_create(tokenizer, &options, &decoder, &error));
  CHECK_OK(nanochat_text_decoder_push(decoder, ids, 4, &text, &size, &error));
  CHECK(size == 2 && memcmp(text, "\xf0\x9f", 2) == 0);
  nanochat_text_decoder_free(decoder);
  nanochat_text_decoder_free(NULL);
}

int main(void) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_runtime *runtime = make_runtime(2);
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error));
  test_a_batch_is_what_each_text_gives(tokenizer);
  test_lengths_are_kept(tokenizer);
  test_only_the_special_tokens_listed_are_recognised(tokenizer);
  test_a_batch_can_be_stopped(tokenizer);
  test_a_growing_text_has_the_ids_of_all_of_it(tokenizer);
  test_tokens_become_text_as_they_come(tokenizer);
  nanochat_tokenizer_free(tokenizer);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
