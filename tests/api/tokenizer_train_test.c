/* Training from files, limits of memory, and the forms a tokenizer is saved in. */
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "check.h"

#define CORPUS NANOCHAT_TEST_DATA "/golden/tokenizer/corpus/tinyshakespeare.txt"

static char path_a[4096];
static char path_b[4096];

static const char *write_text(const char *folder, const char *name, const char *text) {
  snprintf(path_a, sizeof path_a, "%s/%s", folder, name);
  FILE *file = fopen(path_a, "wb");
  if (file == NULL || fwrite(text, 1, strlen(text), file) != strlen(text) || fclose(file) != 0) exit(1);
  return path_a;
}

static nanochat_tokenizer *train_corpus(nanochat_runtime *runtime, uint64_t memory_limit, const char *folder) {
  const char *const paths[] = {CORPUS};
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_error *error = NULL;
  options.vocab_size = 700;
  options.memory_limit = memory_limit;
  options.spill_directory = folder;
  CHECK_OK(nanochat_tokenizer_train_files(runtime, &options, paths, 1, &tokenizer, &error));
  if (tokenizer == NULL) exit(1);
  return tokenizer;
}

static size_t encode(const nanochat_tokenizer *tokenizer, const char *text, int32_t *ids, size_t capacity) {
  size_t n = 0;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_tokenizer_encode(tokenizer, text, NANOCHAT_NUL_TERMINATED, 0, ids, capacity, &n, &error));
  return n;
}

static void check_same_ids(const nanochat_tokenizer *a, const nanochat_tokenizer *b) {
  const char *text = "First Citizen: Before we proceed any further, hear me speak. 12345 na\xc3\xafve \xff\n\n";
  int32_t ids_a[256];
  int32_t ids_b[256];
  size_t n_a = encode(a, text, ids_a, 256);
  size_t n_b = encode(b, text, ids_b, 256);
  CHECK(n_a == n_b);
  CHECK(memcmp(ids_a, ids_b, n_a * sizeof ids_a[0]) == 0);
}

static void test_the_limit_changes_nothing(nanochat_runtime *runtime, const char *folder) {
  nanochat_tokenizer *free_one = train_corpus(runtime, 0, NULL);
  nanochat_tokenizer *tight = train_corpus(runtime, 2u << 20, folder);
  CHECK(nanochat_tokenizer_vocab_size(tight) == 700);
  check_same_ids(free_one, tight);
  nanochat_tokenizer_free(free_one);
  nanochat_tokenizer_free(tight);
}

static void test_saved_forms_load_again(nanochat_runtime *runtime, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *trained = train_corpus(runtime, 0, NULL);
  nanochat_tokenizer *loaded = NULL;
  snprintf(path_b, sizeof path_b, "%s/saved.json", folder);
  CHECK_OK(nanochat_tokenizer_save_as(trained, path_b, NANOCHAT_TOKENIZER_JSON, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, path_b, NULL, &loaded, &error));
  check_same_ids(trained, loaded);
  nanochat_tokenizer_free(loaded);

  snprintf(path_b, sizeof path_b, "%s/saved.tiktoken", folder);
  CHECK_OK(nanochat_tokenizer_save_as(trained, path_b, NANOCHAT_TOKENIZER_TIKTOKEN, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, path_b, NULL, &loaded, &error));
  CHECK(nanochat_tokenizer_vocab_size(loaded) == 700 - 9);
  check_same_ids(trained, loaded);
  nanochat_tokenizer_free(loaded);

  snprintf(path_b, sizeof path_b, "%s/saved.safetensors", folder);
  CHECK_OK(nanochat_tokenizer_save_as(trained, path_b, NANOCHAT_TOKENIZER_TOKEN_BYTES, &error));
  struct stat status;
  CHECK(stat(path_b, &status) == 0 && status.st_size > 700 * 4);

  CHECK_STATUS(nanochat_tokenizer_save_as(trained, path_b, 3, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_tokenizer_save_as(trained, NULL, 0, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_tokenizer_save_as(NULL, path_b, 0, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_tokenizer_save_as(trained, "/nonexistent/folder/file", 0, &error),
               NANOCHAT_STATUS_FILE_NOT_FOUND);
  nanochat_tokenizer_free(trained);

  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &loaded, &error));
  CHECK_SAYS(nanochat_tokenizer_save_as(loaded, path_b, NANOCHAT_TOKENIZER_TIKTOKEN, &error),
             NANOCHAT_STATUS_UNSUPPORTED, "tiktoken", "the tokenizer");
  nanochat_tokenizer_free(loaded);
}

static nanochat_status train_one(nanochat_runtime *runtime, const nanochat_tokenizer_train_options *options,
                                 const char *path, nanochat_error **error) {
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_status status = nanochat_tokenizer_train_files(runtime, options, &path, 1, &tokenizer, error);
  CHECK((tokenizer != NULL) == (status == NANOCHAT_OK));
  nanochat_tokenizer_free(tokenizer);
  return status;
}

static void test_refusals_name_the_place(nanochat_runtime *runtime, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  const char *const paths[] = {CORPUS};
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.vocab_size = 300;
  CHECK_SAYS(train_one(runtime, &options, "/nonexistent/a.txt", &error), NANOCHAT_STATUS_FILE_NOT_FOUND,
             "/nonexistent/a.txt", "");
  CHECK_SAYS(train_one(runtime, &options, "corpus.parquet", &error), NANOCHAT_STATUS_FORMAT_UNSUPPORTED,
             "corpus.parquet", ".jsonl");
  const char *bad = write_text(folder, "bad.jsonl", "{\"text\":\"a\"}\n{\"body\":\"b\"}\n");
  CHECK_SAYS(train_one(runtime, &options, bad, &error), NANOCHAT_STATUS_FORMAT_INVALID, "bad.jsonl: line 2", "\"text\"");
  options.text_field = "body";
  CHECK_SAYS(train_one(runtime, &options, bad, &error), NANOCHAT_STATUS_FORMAT_INVALID, "bad.jsonl: line 1", "\"body\"");
  options.text_field = NULL;
  CHECK_SAYS(train_one(runtime, &options, write_text(folder, "bad.txt.zst", "not zstd"), &error),
             NANOCHAT_STATUS_FORMAT_INVALID, "bad.txt.zst", "zstd");
  CHECK_STATUS(nanochat_tokenizer_train_files(runtime, &options, paths, 0, &tokenizer, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_tokenizer_train_files(runtime, &options, NULL, 1, &tokenizer, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_tokenizer_train_files(runtime, &options, paths, 1, NULL, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_tokenizer_train_files(NULL, &options, paths, 1, &tokenizer, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  options.memory_limit = 4096;
  CHECK_SAYS(train_one(runtime, &options, CORPUS, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "4096", "1048576");
  options.memory_limit = 1u << 20;
  options.spill_directory = "/nonexistent/spill";
  CHECK_SAYS(train_one(runtime, &options, CORPUS, &error), NANOCHAT_STATUS_FILE_NOT_FOUND, "/nonexistent/spill", "");
  options.memory_limit = 0;
  CHECK_OK(train_one(runtime, &options, CORPUS, &error)); /* not looked at without a limit */
  options.documents = 2;
  CHECK_STATUS(train_one(runtime, &options, CORPUS, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  options.documents = 0;
  options.reserved = 1;
  CHECK_STATUS(train_one(runtime, &options, CORPUS, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK(tokenizer == NULL);
}

static int32_t stop_in(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  CHECK(done <= total);
  return strcmp(stage, (const char *)user_data) == 0 && (done > 0 || strcmp(stage, "count") == 0);
}

static void test_every_stage_can_be_stopped(nanochat_runtime *runtime) {
  static char stages[][8] = {"read", "count", "merge"};
  nanochat_error *error = NULL;
  nanochat_cancel *cancel = NULL;
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.vocab_size = 500;
  options.progress = stop_in;
  for (size_t i = 0; i < 3; ++i) {
    options.progress_user_data = stages[i];
    CHECK_SAYS(train_one(runtime, &options, CORPUS, &error), NANOCHAT_STATUS_CANCELLED, stages[i], "");
  }
  options.progress = NULL;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  nanochat_cancel_request(cancel);
  options.cancel = cancel;
  CHECK_STATUS(train_one(runtime, &options, CORPUS, &error), NANOCHAT_STATUS_CANCELLED);
  nanochat_cancel_free(cancel);
}

/* The struct of the first release ends behind `pattern`. */
static void test_a_shorter_struct_of_old_is_accepted(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.struct_size = 56;
  options.vocab_size = 300;
  options.memory_limit = 1; /* not seen */
  CHECK_OK(train_one(runtime, &options, CORPUS, &error));
}

int main(int argc, char **argv) {
  char folder[2048];
  snprintf(folder, sizeof folder, "%s/train-XXXXXX", argc > 1 ? argv[1] : ".");
  if (mkdtemp(folder) == NULL) return 1;
  nanochat_runtime *runtime = make_runtime(2);
  test_the_limit_changes_nothing(runtime, folder);
  test_saved_forms_load_again(runtime, folder);
  test_refusals_name_the_place(runtime, folder);
  test_every_stage_can_be_stopped(runtime);
  test_a_shorter_struct_of_old_is_accepted(runtime);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
