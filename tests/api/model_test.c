/* Model: plan, load, describe, save, random weights. */
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

struct seen {
  uint64_t calls, last_done, total;
  uint64_t stop_at; /* call number; 0: never */
};

static int32_t watch(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  struct seen *seen = user_data;
  CHECK(stage != NULL && strlen(stage) > 0);
  CHECK(done <= total && done >= seen->last_done);
  seen->last_done = done;
  seen->total = total;
  return ++seen->calls == seen->stop_at;
}

static void test_describe_agrees_with_the_plan(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_model *model = NULL;
  nanochat_text *text = NULL;
  nanochat_model_plan_info plan = {0};
  nanochat_model_info info = {0};
  struct seen seen = {0, 0, 0, 0};
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  plan.struct_size = sizeof plan;
  info.struct_size = sizeof info;
  options.progress = watch;
  options.progress_user_data = &seen;
  CHECK_OK(nanochat_model_plan(runtime, STORIES, NULL, &plan, &error));
  CHECK_OK(nanochat_model_load(runtime, STORIES, &options, &model, &error));
  CHECK(seen.calls >= 1 && seen.last_done == seen.total && seen.total > 0);
  CHECK_OK(nanochat_model_describe(model, &info, &error));
  CHECK(info.n_layer == 5 && info.n_head == 8 && info.n_kv_head == 4 && info.n_embd == 64);
  CHECK(info.vocab_size == 512 && info.sequence_len == 512 && info.bos_token == 1);
  CHECK(info.weights == NANOCHAT_WEIGHTS_F32);
  CHECK(info.parameters == 260032); /* 264,128 floats of the original file, less 4,096 of its rope tables */
  CHECK(plan.parameters == info.parameters && plan.weight_bytes == info.weight_bytes);
  CHECK(plan.kv_bytes_per_token == info.kv_bytes_per_token);
  CHECK(info.kv_bytes_per_token == 5 * 2 * 4 * 8 * 4);
  CHECK_OK(nanochat_model_to_json(model, &text, &error));
  CHECK(strstr(nanochat_text_data(text), "\"schema\": \"nanochat.model.v1\"") != NULL);
  nanochat_text_free(text);
  nanochat_model_free(model);
}

static void test_loading_stops_at_every_progress_call(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_memory_info memory = {0};
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  memory.struct_size = sizeof memory;
  options.progress = watch;
  for (uint64_t stop_at = 1; stop_at < 1000; ++stop_at) {
    struct seen seen = {0, 0, 0, stop_at};
    nanochat_model *model = NULL;
    options.progress_user_data = &seen;
    const nanochat_status status = nanochat_model_load(runtime, STORIES, &options, &model, &error);
    nanochat_error_free(error);
    error = NULL;
    if (status == NANOCHAT_OK) {
      CHECK(stop_at > 1);
      nanochat_model_free(model);
      break;
    }
    CHECK(status == NANOCHAT_STATUS_CANCELLED && model == NULL);
    CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
    CHECK(memory.used_bytes == 0);
  }
  nanochat_cancel *cancel = NULL;
  nanochat_model *model = NULL;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  nanochat_cancel_request(cancel);
  options.progress = NULL;
  options.cancel = cancel;
  CHECK_STATUS(nanochat_model_load(runtime, STORIES, &options, &model, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK(model == NULL);
  nanochat_cancel_free(cancel);
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  if (file == NULL) exit(1);
  fputs(text, file);
  fclose(file);
}

static void test_bad_directories_name_what_is_wrong(nanochat_runtime *runtime, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_model *model = NULL;
  char path[4096];
  char file[4200];
  char weights[4200];
  snprintf(path, sizeof path, "%s/bad-model", folder);
  mkdir(path, 0755);
  snprintf(file, sizeof file, "%s/config.json", path);
  snprintf(weights, sizeof weights, "%s/model.safetensors", path);
  unlink(file); /* of an earlier run */
  unlink(weights);
  CHECK_SAYS(nanochat_model_load(runtime, path, NULL, &model, &error), NANOCHAT_STATUS_MODEL_FILE_MISSING, "bad-model",
             "config.json");
  write_text(file, "{}");
  CHECK_SAYS(nanochat_model_load(runtime, path, NULL, &model, &error), NANOCHAT_STATUS_MODEL_FILE_MISSING, "bad-model",
             "");
  CHECK(symlink(STORIES "/model.safetensors", weights) == 0);
  write_text(file, "[1,2");
  CHECK(nanochat_model_load(runtime, path, NULL, &model, &error) == NANOCHAT_STATUS_MODEL_LOAD_FAILED);
  CHECK(nanochat_error_cause(error) != NULL);
  CHECK(nanochat_error_status(nanochat_error_cause(error)) == NANOCHAT_STATUS_FORMAT_INVALID);
  nanochat_error_free(error);
  error = NULL;
  write_text(file, "{\"model_type\":\"mamba\"}");
  CHECK_SAYS(nanochat_model_load(runtime, path, NULL, &model, &error), NANOCHAT_STATUS_MODEL_LOAD_FAILED, "mamba", "");
  CHECK_SAYS(nanochat_model_load(runtime, "/nowhere/m", NULL, &model, &error), NANOCHAT_STATUS_MODEL_FILE_MISSING, "m",
             "/nowhere/m");
  CHECK_SAYS(nanochat_model_load(runtime, "", NULL, &model, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "path", "empty");
  CHECK_SAYS(nanochat_model_load(runtime, NULL, NULL, &model, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "path",
             "NULL");
  CHECK_SAYS(nanochat_model_load(NULL, path, NULL, &model, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "runtime",
             "NULL");
  CHECK_SAYS(nanochat_model_load(runtime, path, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_model",
             "NULL");
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  options.weights = 7;
  CHECK_SAYS(nanochat_model_load(runtime, path, &options, &model, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "weights",
             "7");
  CHECK(model == NULL);
}

static void logits_of(nanochat_model *model, float *logits, size_t capacity) {
  nanochat_error *error = NULL;
  nanochat_session *session = NULL;
  const int32_t tokens[] = {1, 20, 300, 4};
  CHECK_OK(nanochat_session_create(model, NULL, &session, &error));
  CHECK_OK(nanochat_session_eval(session, tokens, 4, NANOCHAT_LOGITS_LAST, logits, capacity, NULL, &error));
  nanochat_session_free(session);
}

static void test_a_saved_model_gives_the_same_bits(nanochat_runtime *runtime, const char *folder, const char *shape,
                                                   int32_t weights) {
  nanochat_error *error = NULL;
  nanochat_model *model = NULL;
  nanochat_model *again = NULL;
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  nanochat_model_info info = {0};
  char path[4096];
  info.struct_size = sizeof info;
  snprintf(path, sizeof path, "%s/saved-model-%d", folder, (int)weights);
  options.weights = weights;
  if (shape == NULL) {
    CHECK_OK(nanochat_model_load(runtime, STORIES, &options, &model, &error));
  } else {
    CHECK_OK(nanochat_model_create_random(runtime, shape, 42, &options, &model, &error));
  }
  CHECK_OK(nanochat_model_save(model, path, NULL, &error));
  CHECK_OK(nanochat_model_load(runtime, path, NULL, &again, &error));
  CHECK_OK(nanochat_model_describe(again, &info, &error));
  CHECK(info.weights == weights);
  const size_t n = (size_t)info.vocab_size;
  float *first = calloc(n, sizeof *first);
  float *second = calloc(n, sizeof *second);
  logits_of(model, first, n);
  logits_of(again, second, n);
  CHECK(memcmp(first, second, n * sizeof *first) == 0);
  free(first);
  free(second);
  nanochat_model_free(model);
  nanochat_model_free(again);
}

static void test_a_quantized_model_is_what_a_load_as_int8_is(nanochat_runtime *runtime, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_model *whole = NULL;
  nanochat_model *loaded = NULL;
  nanochat_model *quantized = NULL;
  nanochat_model *again = NULL;
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  nanochat_model_info info = {0};
  float logits[3][512];
  char path[4096];
  snprintf(path, sizeof path, "%s/int8-model", folder);
  info.struct_size = sizeof info;
  options.weights = NANOCHAT_WEIGHTS_INT8;
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &whole, &error));
  CHECK_OK(nanochat_model_load(runtime, STORIES, &options, &loaded, &error));
  CHECK_OK(nanochat_model_quantize(whole, NULL, &quantized, &error));
  CHECK_OK(nanochat_model_save(quantized, path, NULL, &error));
  CHECK_OK(nanochat_model_load(runtime, path, NULL, &again, &error));
  CHECK_OK(nanochat_model_describe(again, &info, &error));
  CHECK(info.weights == NANOCHAT_WEIGHTS_INT8);
  logits_of(loaded, logits[0], 512);
  logits_of(quantized, logits[1], 512);
  logits_of(again, logits[2], 512);
  CHECK(memcmp(logits[0], logits[1], sizeof logits[0]) == 0);
  CHECK(memcmp(logits[0], logits[2], sizeof logits[0]) == 0);
  nanochat_model_free(again);
  again = NULL;
  CHECK_SAYS(nanochat_model_quantize(quantized, NULL, &again, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "int8",
             "already");
  CHECK_SAYS(nanochat_model_quantize(NULL, NULL, &again, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "model", "NULL");
  CHECK_SAYS(nanochat_model_quantize(whole, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_model", "NULL");
  options.weights = NANOCHAT_WEIGHTS_BF16;
  CHECK_SAYS(nanochat_model_quantize(whole, &options, &again, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "weights",
             "2");
  struct seen seen = {0, 0, 0, 1};
  options.weights = 0;
  options.progress = watch;
  options.progress_user_data = &seen;
  CHECK_STATUS(nanochat_model_quantize(whole, &options, &again, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK(again == NULL);
  nanochat_model_free(whole);
  nanochat_model_free(loaded);
  nanochat_model_free(quantized);
}

static void test_random_models_follow_their_seed(nanochat_runtime *runtime) {
  static const char *const shape =
      "{\"generation\":\"V1\",\"sequence_len\":64,\"vocab_size\":512,\"n_layer\":3,\"n_head\":4,\"n_kv_head\":2,"
      "\"n_embd\":64,\"window_pattern\":\"SL\"}";
  nanochat_error *error = NULL;
  float logits[3][512];
  const uint64_t seeds[] = {1, 1, 2};
  for (int i = 0; i < 3; ++i) {
    nanochat_model *model = NULL;
    CHECK_OK(nanochat_model_create_random(runtime, shape, seeds[i], NULL, &model, &error));
    if (model == NULL) return;
    logits_of(model, logits[i], 512);
    nanochat_model_free(model);
  }
  CHECK(memcmp(logits[0], logits[1], sizeof logits[0]) == 0);
  CHECK(memcmp(logits[0], logits[2], sizeof logits[0]) != 0);
  nanochat_model *model = NULL;
  CHECK_SAYS(nanochat_model_create_random(runtime, "v7-d20", 0, NULL, &model, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "v7-d20", "");
  CHECK_SAYS(nanochat_model_create_random(runtime, "{\"n_layer\":-1}", 0, NULL, &model, &error),
             NANOCHAT_STATUS_CONFIG_INVALID, "shape", "");
  CHECK(model == NULL);
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : ".";
  nanochat_runtime *runtime = make_runtime(2);
  test_describe_agrees_with_the_plan(runtime);
  test_loading_stops_at_every_progress_call(runtime);
  test_bad_directories_name_what_is_wrong(runtime, folder);
  test_a_saved_model_gives_the_same_bits(runtime, folder, NULL, NANOCHAT_WEIGHTS_F32);
  test_a_saved_model_gives_the_same_bits(runtime, folder, "v1-d2", NANOCHAT_WEIGHTS_BF16);
  test_a_quantized_model_is_what_a_load_as_int8_is(runtime, folder);
  test_random_models_follow_their_seed(runtime);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
