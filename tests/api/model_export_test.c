/* Model: export to other engines. */
#include <sys/stat.h>

#include "check.h"

struct seen {
  uint64_t calls, last_done, total, stop_at;
};

static int32_t watch(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  struct seen *seen = user_data;
  CHECK(strcmp(stage, "export") == 0);
  CHECK(done <= total && done >= seen->last_done);
  seen->last_done = done;
  seen->total = total;
  return ++seen->calls == seen->stop_at;
}

static long file_size(const char *path) {
  struct stat found;
  return stat(path, &found) == 0 ? (long)found.st_size : -1;
}

static void test_exports_with_and_without_a_tokenizer(nanochat_runtime *runtime, const nanochat_model *model,
                                                      const char *folder) {
  nanochat_error *error = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  char with[4096];
  char without[4096];
  char magic[5] = "";
  struct seen seen = {0, 0, 0, 0};
  nanochat_model_export_options options = NANOCHAT_MODEL_EXPORT_OPTIONS_INIT;
  snprintf(with, sizeof with, "%s/with.gguf", folder);
  snprintf(without, sizeof without, "%s/without.gguf", folder);
  options.progress = watch;
  options.progress_user_data = &seen;
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error));
  CHECK_OK(nanochat_model_export(model, tokenizer, with, &options, &error));
  CHECK(seen.total == 260032 * 4 && seen.last_done == seen.total);
  CHECK_OK(nanochat_model_export(model, NULL, without, NULL, &error));
  CHECK(file_size(without) > 260032 * 4 && file_size(with) > file_size(without) + 512);
  FILE *file = fopen(with, "rb");
  CHECK(file != NULL && fread(magic, 1, 4, file) == 4 && strcmp(magic, "GGUF") == 0);
  if (file != NULL) fclose(file);
  options.dtype = NANOCHAT_EXPORT_F16;
  seen.last_done = 0;
  CHECK_OK(nanochat_model_export(model, NULL, without, &options, &error));
  CHECK(seen.total < 260032 * 4 && file_size(without) < 260032 * 4);
  nanochat_tokenizer_free(tokenizer);
}

static void test_stops_at_every_progress_call(const nanochat_model *model, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_cancel *cancel = NULL;
  char path[4096];
  nanochat_model_export_options options = NANOCHAT_MODEL_EXPORT_OPTIONS_INIT;
  snprintf(path, sizeof path, "%s/stopped.gguf", folder);
  remove(path);
  options.progress = watch;
  for (uint64_t stop_at = 1; stop_at < 1000; ++stop_at) {
    struct seen seen = {0, 0, 0, stop_at};
    options.progress_user_data = &seen;
    const nanochat_status status = nanochat_model_export(model, NULL, path, &options, &error);
    nanochat_error_free(error);
    error = NULL;
    if (status == NANOCHAT_OK) {
      CHECK(stop_at > 40);
      break;
    }
    CHECK(status == NANOCHAT_STATUS_CANCELLED && file_size(path) == -1);
  }
  CHECK(file_size(path) > 0);
  remove(path);
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  nanochat_cancel_request(cancel);
  options.progress = NULL;
  options.cancel = cancel;
  CHECK_STATUS(nanochat_model_export(model, NULL, path, &options, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK(file_size(path) == -1);
  nanochat_cancel_free(cancel);
}

static void test_refuses_by_name(nanochat_runtime *runtime, const nanochat_model *model, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_model *other = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  char path[4096];
  nanochat_model_export_options options = NANOCHAT_MODEL_EXPORT_OPTIONS_INIT;
  snprintf(path, sizeof path, "%s/refused.gguf", folder);
  CHECK_SAYS(nanochat_model_export(NULL, NULL, path, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "model", "NULL");
  CHECK_SAYS(nanochat_model_export(model, NULL, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "path", "NULL");
  CHECK_SAYS(nanochat_model_export(model, NULL, "", NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "path", "empty");
  CHECK_STATUS(nanochat_model_export(model, NULL, "/nowhere/at/all.gguf", NULL, &error), NANOCHAT_STATUS_FILE_NOT_FOUND);
  options.format = 1;
  CHECK_SAYS(nanochat_model_export(model, NULL, path, &options, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "format", "1");
  options.format = 0;
  options.dtype = 4;
  CHECK_SAYS(nanochat_model_export(model, NULL, path, &options, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "dtype", "4");
  options.dtype = 0;
  options.struct_size = 3;
  CHECK_SAYS(nanochat_model_export(model, NULL, path, &options, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "nanochat_model_export_options", "3");
  CHECK_OK(nanochat_model_create_random(runtime, "v1-d1", 1, NULL, &other, &error));
  CHECK_SAYS(nanochat_model_export(other, NULL, path, NULL, &error), NANOCHAT_STATUS_UNSUPPORTED, "nanochat-v1", "llama");
  nanochat_model_free(other);
  CHECK_OK(nanochat_model_create_random(runtime,
                                        "{\"model_type\":\"llama\",\"vocab_size\":500,\"hidden_size\":32,"
                                        "\"intermediate_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":2}",
                                        1, NULL, &other, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error));
  CHECK_SAYS(nanochat_model_export(other, tokenizer, path, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "511", "500");
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(other);
  CHECK(file_size(path) == -1);
}

static void test_options_init_means_defaults(void) {
  nanochat_model_export_options options;
  const nanochat_model_export_options defaults = NANOCHAT_MODEL_EXPORT_OPTIONS_INIT;
  memset(&options, 0xff, sizeof options);
  nanochat_model_export_options_init(&options, sizeof options);
  CHECK(memcmp(&options, &defaults, sizeof options) == 0);
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  nanochat_runtime *runtime = make_runtime(2);
  nanochat_model *model = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  test_exports_with_and_without_a_tokenizer(runtime, model, folder);
  test_stops_at_every_progress_call(model, folder);
  test_refuses_by_name(runtime, model, folder);
  test_options_init_means_defaults();
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
