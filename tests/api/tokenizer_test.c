/* Tokenizer: load, encode, decode, render, train, save. */
#include "check.h"

static int same_ids(const int32_t *got, size_t n_got, const int32_t *expected, size_t n_expected) {
  return n_got == n_expected && memcmp(got, expected, n_got * sizeof *got) == 0;
}

static void test_encode_says_what_it_needs(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  int32_t ids[64];
  size_t n = 0;
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error)); /* a directory */
  CHECK(nanochat_tokenizer_vocab_size(tokenizer) == 512);
  CHECK(nanochat_tokenizer_special_id(tokenizer, "<s>") == 1);
  CHECK(nanochat_tokenizer_special_id(tokenizer, "<nobody>") == -1);
  CHECK(nanochat_tokenizer_bos(tokenizer) == 1);
  CHECK_OK(nanochat_tokenizer_encode(tokenizer, "Once upon a time", NANOCHAT_NUL_TERMINATED,
                                     NANOCHAT_ENCODE_ADD_SPECIALS, ids, 64, &n, &error));
  const int32_t expected[] = {1, 403, 407, 261, 378};
  CHECK(same_ids(ids, n, expected, 5));
  CHECK(nanochat_tokenizer_encode_bound(tokenizer, 16) >= n);

  ids[0] = -7;
  n = 0;
  CHECK_SAYS(nanochat_tokenizer_encode(tokenizer, "Once upon a time", 16, NANOCHAT_ENCODE_ADD_SPECIALS, ids, 4, &n,
                                       &error),
             NANOCHAT_STATUS_BUFFER_TOO_SMALL, "4", "5");
  CHECK(n == 5 && ids[0] == -7);
  n = 99;
  CHECK_OK(nanochat_tokenizer_encode(tokenizer, NULL, 0, NANOCHAT_ENCODE_PLAIN, NULL, 0, &n, &error));
  CHECK(n == 0);
  CHECK_SAYS(nanochat_tokenizer_encode(tokenizer, NULL, 5, 0, ids, 64, &n, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "text", "NULL");
  CHECK_SAYS(nanochat_tokenizer_encode(tokenizer, "a", 1, 8, ids, 64, &n, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "flags", "8");
  CHECK_SAYS(nanochat_tokenizer_encode(tokenizer, "a", 1, 0, ids, 64, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "out_n", "NULL");
  nanochat_tokenizer_free(tokenizer);
}

static void test_decode_is_exact_and_checks_ids(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_text *text = NULL;
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES "/tokenizer.json", NULL, &tokenizer, &error));
  const int32_t ids[] = {1, 403, 407, 261, 378};
  CHECK_OK(nanochat_tokenizer_decode(tokenizer, ids, 5, 1, &text, &error));
  CHECK(strcmp(nanochat_text_data(text), "Once upon a time") == 0);
  CHECK(nanochat_text_size(text) == 16);
  nanochat_text_free(text);
  text = NULL;
  const int32_t bad[] = {403, 512};
  CHECK_SAYS(nanochat_tokenizer_decode(tokenizer, bad, 2, 1, &text, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "512",
             "512");
  const int32_t negative = -1;
  CHECK_STATUS(nanochat_tokenizer_decode(tokenizer, &negative, 1, 1, &text, &error), NANOCHAT_STATUS_OUT_OF_RANGE);
  CHECK(text == NULL);
  CHECK_OK(nanochat_tokenizer_decode(tokenizer, NULL, 0, 0, &text, &error));
  CHECK(nanochat_text_size(text) == 0);
  nanochat_text_free(text);
  nanochat_tokenizer_free(tokenizer);
}

static void test_load_refuses_what_is_no_tokenizer(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  CHECK_SAYS(nanochat_tokenizer_load(runtime, "/nowhere/t.json", NULL, &tokenizer, &error),
             NANOCHAT_STATUS_FILE_NOT_FOUND, "/nowhere/t.json", "");
  CHECK_SAYS(nanochat_tokenizer_load(runtime, STORIES "/config.json", NULL, &tokenizer, &error),
             NANOCHAT_STATUS_FORMAT_INVALID, "config.json", "");
  CHECK_SAYS(nanochat_tokenizer_load(runtime, "", NULL, &tokenizer, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "path",
             "empty");
  CHECK_SAYS(nanochat_tokenizer_load(NULL, "x", NULL, &tokenizer, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "runtime",
             "NULL");
  CHECK(tokenizer == NULL);
}

struct documents {
  const char *const *texts;
  size_t n, next;
  int32_t end;
};

static int32_t next_document(const char **text, size_t *size, void *user_data) {
  struct documents *documents = user_data;
  if (documents->next == documents->n) return documents->end;
  *text = documents->texts[documents->next++];
  *size = strlen(*text);
  return 1;
}

static nanochat_tokenizer *train_tiny(nanochat_runtime *runtime) {
  static const char *const texts[] = {"hello hello hello", "help helper", "low lower lowest"};
  struct documents documents = {texts, 3, 0, 0};
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.vocab_size = 256 + 4 + 9;
  CHECK_OK(nanochat_tokenizer_train(runtime, &options, next_document, &documents, &tokenizer, &error));
  return tokenizer;
}

static void test_train_save_load_and_render(nanochat_runtime *runtime, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *trained = train_tiny(runtime);
  nanochat_tokenizer *loaded = NULL;
  char path[4096];
  int32_t ids[64];
  int32_t again[64];
  uint8_t mask[64];
  size_t n = 0;
  size_t n_again = 0;
  snprintf(path, sizeof path, "%s/tiny-tokenizer.json", folder);
  CHECK(nanochat_tokenizer_vocab_size(trained) == 269);
  CHECK(nanochat_tokenizer_special_id(trained, "<|bos|>") == 260);
  CHECK(nanochat_tokenizer_special_id(trained, "<|output_end|>") == 268);
  CHECK_OK(nanochat_tokenizer_save(trained, path, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, path, NULL, &loaded, &error));
  CHECK_OK(nanochat_tokenizer_encode(trained, "hello <|bos|> lower", NANOCHAT_NUL_TERMINATED, 0, ids, 64, &n, &error));
  CHECK_OK(nanochat_tokenizer_encode(loaded, "hello <|bos|> lower", NANOCHAT_NUL_TERMINATED, 0, again, 64, &n_again,
                                     &error));
  CHECK(same_ids(ids, n, again, n_again));
  for (size_t i = 0; i < n; ++i) CHECK(ids[i] < 260); /* text is only text */

  const char *talk = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"yo\"}]}";
  CHECK_OK(nanochat_tokenizer_render(loaded, talk, NANOCHAT_NUL_TERMINATED, NANOCHAT_RENDER_TRAINING, 0, ids, mask, 64,
                                     &n, &error));
  const int32_t expected[] = {260, 261, 'h', 'i', 262, 263, 'y', 'o', 264};
  const uint8_t expected_mask[] = {0, 0, 0, 0, 0, 0, 1, 1, 1};
  CHECK(same_ids(ids, n, expected, 9));
  CHECK(memcmp(mask, expected_mask, 9) == 0);
  CHECK_OK(nanochat_tokenizer_render(loaded, talk, NANOCHAT_NUL_TERMINATED, NANOCHAT_RENDER_COMPLETION, 0, ids, NULL,
                                     64, &n, &error));
  CHECK(same_ids(ids, n, expected, 6));
  CHECK_OK(nanochat_tokenizer_render(loaded, talk, NANOCHAT_NUL_TERMINATED, NANOCHAT_RENDER_TRAINING, 4, ids, NULL, 64,
                                     &n, &error));
  CHECK(n == 4);
  CHECK_STATUS(nanochat_tokenizer_render(loaded, talk, NANOCHAT_NUL_TERMINATED, NANOCHAT_RENDER_TRAINING, 0, ids, mask,
                                         3, &n, &error),
               NANOCHAT_STATUS_BUFFER_TOO_SMALL);
  CHECK(n == 9);
  const char *twice = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]}";
  CHECK_SAYS(nanochat_tokenizer_render(loaded, twice, NANOCHAT_NUL_TERMINATED, 0, 0, ids, mask, 64, &n, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "1", "user");
  CHECK_STATUS(nanochat_tokenizer_render(loaded, "{", 1, 0, 0, ids, mask, 64, &n, &error),
               NANOCHAT_STATUS_FORMAT_INVALID);
  CHECK_STATUS(nanochat_tokenizer_render(loaded, talk, NANOCHAT_NUL_TERMINATED, 3, 0, ids, mask, 64, &n, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  nanochat_tokenizer_free(loaded);
  nanochat_tokenizer_free(trained);
}

static int32_t stop_at_once(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  (void)stage;
  (void)done;
  (void)total;
  (void)user_data;
  return 1;
}

static void test_training_refuses_and_stops(nanochat_runtime *runtime) {
  static const char *const texts[] = {"some text to count"};
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  struct documents documents = {texts, 1, 0, 0};
  options.vocab_size = 100;
  CHECK_SAYS(nanochat_tokenizer_train(runtime, &options, next_document, &documents, &tokenizer, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "100", "265");
  options.vocab_size = 300;
  documents = (struct documents){texts, 1, 0, -3};
  CHECK_SAYS(nanochat_tokenizer_train(runtime, &options, next_document, &documents, &tokenizer, &error),
             NANOCHAT_STATUS_CANCELLED, "-3", "");
  documents = (struct documents){texts, 1, 0, 0};
  options.progress = stop_at_once;
  CHECK_STATUS(nanochat_tokenizer_train(runtime, &options, next_document, &documents, &tokenizer, &error),
               NANOCHAT_STATUS_CANCELLED);
  CHECK(tokenizer == NULL);
}

int main(int argc, char **argv) {
  nanochat_runtime *runtime = make_runtime(2);
  test_encode_says_what_it_needs(runtime);
  test_decode_is_exact_and_checks_ids(runtime);
  test_load_refuses_what_is_no_tokenizer(runtime);
  test_train_save_load_and_render(runtime, argc > 1 ? argv[1] : ".");
  test_training_refuses_and_stops(runtime);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
