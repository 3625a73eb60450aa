/* Session: eval, copy, truncate, save, load; the same bits however the tokens are cut. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

enum { kVocab = 512, kTokens = 40 };

static void fill_tokens(int32_t *tokens) {
  for (int i = 0; i < kTokens; ++i) tokens[i] = i == 0 ? 1 : 3 + (i * 37) % 500;
}

static nanochat_model *load(nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_model *model = NULL;
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  if (model == NULL) exit(1);
  return model;
}

static nanochat_session *fresh(const nanochat_model *model, int64_t capacity) {
  nanochat_error *error = NULL;
  nanochat_session *session = NULL;
  nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
  options.capacity = capacity;
  CHECK_OK(nanochat_session_create(model, &options, &session, &error));
  if (session == NULL) exit(1);
  return session;
}

static void test_same_bits_whole_in_chunks_and_on_any_number_of_threads(void) {
  nanochat_error *error = NULL;
  int32_t tokens[kTokens];
  static float whole[kTokens][kVocab];
  static float part[kTokens][kVocab];
  fill_tokens(tokens);
  for (int32_t n_threads = 1; n_threads <= 3; ++n_threads) {
    nanochat_runtime *runtime = make_runtime(n_threads);
    nanochat_model *model = load(runtime);
    for (size_t chunk = 1; chunk <= kTokens; chunk += chunk < 8 ? 1 : 16) {
      nanochat_session *session = fresh(model, 0);
      for (size_t at = 0; at < kTokens; at += chunk) {
        const size_t n = at + chunk <= kTokens ? chunk : kTokens - at;
        CHECK_OK(nanochat_session_eval(session, tokens + at, n, NANOCHAT_LOGITS_ALL, part[at], n * kVocab, NULL,
                                       &error));
      }
      if (n_threads == 1 && chunk == 1) memcpy(whole, part, sizeof whole);
      CHECK(memcmp(whole, part, sizeof whole) == 0);
      nanochat_session_free(session);
    }
    nanochat_model_free(model);
    nanochat_runtime_free(runtime);
  }
}

static void test_copy_and_truncate_are_exact(nanochat_model *model) {
  nanochat_error *error = NULL;
  int32_t tokens[kTokens];
  float direct[kVocab];
  float after[kVocab];
  nanochat_session *copy = NULL;
  fill_tokens(tokens);
  nanochat_session *session = fresh(model, 64);
  CHECK(nanochat_session_capacity(session) == 64);
  CHECK_OK(nanochat_session_eval(session, tokens, 20, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  CHECK_OK(nanochat_session_copy(session, &copy, &error));
  CHECK(nanochat_session_length(copy) == 20);
  CHECK_OK(nanochat_session_eval(session, tokens + 20, 1, NANOCHAT_LOGITS_LAST, direct, kVocab, NULL, &error));
  CHECK_OK(nanochat_session_eval(copy, tokens + 30, 7, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  CHECK_OK(nanochat_session_truncate(copy, 20, &error));
  CHECK(nanochat_session_length(copy) == 20);
  CHECK_OK(nanochat_session_eval(copy, tokens + 20, 1, NANOCHAT_LOGITS_LAST, after, kVocab, NULL, &error));
  CHECK(memcmp(direct, after, sizeof direct) == 0);
  CHECK_SAYS(nanochat_session_truncate(copy, 22, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "22", "21");
  CHECK_STATUS(nanochat_session_truncate(copy, -1, &error), NANOCHAT_STATUS_OUT_OF_RANGE);
  CHECK(nanochat_session_length(copy) == 21);
  nanochat_session_free(session);
  nanochat_session_free(copy);
}

static void test_bad_calls_leave_the_session_as_it_was(nanochat_model *model) {
  nanochat_error *error = NULL;
  int32_t tokens[kTokens];
  float logits[kVocab];
  fill_tokens(tokens);
  nanochat_session *session = fresh(model, 16);
  CHECK_OK(nanochat_session_eval(session, tokens, 10, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  CHECK_SAYS(nanochat_session_eval(session, tokens, 7, 0, NULL, 0, NULL, &error), NANOCHAT_STATUS_CONTEXT_FULL, "16",
             "10");
  CHECK_STATUS(nanochat_session_eval(session, tokens, SIZE_MAX / 4, 2, logits, kVocab, NULL, &error),
               NANOCHAT_STATUS_CONTEXT_FULL);
  const int32_t beyond = 512;
  const int32_t negative = -1;
  CHECK_SAYS(nanochat_session_eval(session, &beyond, 1, 0, NULL, 0, NULL, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "512",
             "512");
  CHECK_STATUS(nanochat_session_eval(session, &negative, 1, 0, NULL, 0, NULL, &error), NANOCHAT_STATUS_OUT_OF_RANGE);
  CHECK_SAYS(nanochat_session_eval(session, tokens, 0, 0, NULL, 0, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "n_tokens", "0");
  CHECK_STATUS(nanochat_session_eval(session, NULL, 1, 0, NULL, 0, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_SAYS(nanochat_session_eval(session, tokens, 2, NANOCHAT_LOGITS_ALL, logits, kVocab, NULL, &error),
             NANOCHAT_STATUS_BUFFER_TOO_SMALL, "512", "1024");
  CHECK_STATUS(nanochat_session_eval(session, tokens, 1, 3, logits, kVocab, NULL, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_session_eval(session, tokens, 1, 1, NULL, kVocab, NULL, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  nanochat_cancel *cancel = NULL;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  nanochat_cancel_request(cancel);
  CHECK_STATUS(nanochat_session_eval(session, tokens, 1, 0, NULL, 0, cancel, &error), NANOCHAT_STATUS_CANCELLED);
  nanochat_cancel_free(cancel);
  CHECK(nanochat_session_length(session) == 10);
  CHECK_OK(nanochat_session_eval(session, tokens, 6, NANOCHAT_LOGITS_LAST, logits, kVocab, NULL, &error));
  nanochat_session_free(session);

  nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
  session = NULL;
  options.capacity = -5;
  CHECK_SAYS(nanochat_session_create(model, &options, &session, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "capacity",
             "-5");
  options.capacity = INT64_MAX;
  CHECK_STATUS(nanochat_session_create(model, &options, &session, &error), NANOCHAT_STATUS_OUT_OF_RANGE);
  CHECK(session == NULL);
  options.capacity = 8;
  options.kv_dtype = 4;
  CHECK_SAYS(nanochat_session_create(model, &options, &session, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "kv_dtype",
             "4");
  options.kv_dtype = NANOCHAT_KV_DEFAULT;
  options.reserved = 1;
  CHECK_STATUS(nanochat_session_create(model, &options, &session, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
}

static void test_kv_dtypes(nanochat_model *model, const char *folder) {
  nanochat_error *error = NULL;
  char path[512];
  snprintf(path, sizeof path, "%s/kv.session", folder);
  int32_t tokens[kTokens];
  float logits[4][kVocab];
  for (int i = 0; i < kTokens; ++i) tokens[i] = i * 37 % kVocab;
  for (int32_t kv_dtype = NANOCHAT_KV_DEFAULT; kv_dtype <= NANOCHAT_KV_INT8; ++kv_dtype) {
    nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
    options.kv_dtype = kv_dtype;
    nanochat_session *session = NULL;
    CHECK_OK(nanochat_session_create(model, &options, &session, &error));
    CHECK_OK(nanochat_session_eval(session, tokens, kTokens, NANOCHAT_LOGITS_LAST, logits[kv_dtype], kVocab, NULL, &error));
    nanochat_session_free(session);
  }
  CHECK(memcmp(logits[NANOCHAT_KV_DEFAULT], logits[NANOCHAT_KV_F32], sizeof logits[0]) == 0);
  CHECK(memcmp(logits[NANOCHAT_KV_BF16], logits[NANOCHAT_KV_F32], sizeof logits[0]) != 0);
  CHECK(memcmp(logits[NANOCHAT_KV_INT8], logits[NANOCHAT_KV_BF16], sizeof logits[0]) != 0);

  nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
  options.kv_dtype = NANOCHAT_KV_INT8;
  nanochat_session *session = NULL;
  CHECK_OK(nanochat_session_create(model, &options, &session, &error));
  CHECK_OK(nanochat_session_eval(session, tokens, kTokens, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  CHECK_OK(nanochat_session_save(session, path, &error));
  nanochat_session_free(session);
  session = NULL;
  options.kv_dtype = NANOCHAT_KV_F32;
  CHECK_SAYS(nanochat_session_load(model, path, &options, &session, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "I8", "F32");
  CHECK(session == NULL);
  CHECK_OK(nanochat_session_load(model, path, NULL, &session, &error));
  CHECK(nanochat_session_length(session) == kTokens);
  nanochat_session_free(session);
}

static void test_save_and_load(nanochat_model *model, const char *folder) {
  nanochat_error *error = NULL;
  nanochat_session *session = fresh(model, 64);
  nanochat_session *loaded = NULL;
  int32_t tokens[kTokens];
  float direct[kVocab];
  float after[kVocab];
  char path[4096];
  fill_tokens(tokens);
  snprintf(path, sizeof path, "%s/session.bin", folder);
  CHECK_OK(nanochat_session_eval(session, tokens, 30, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  CHECK_OK(nanochat_session_save(session, path, &error));
  CHECK_OK(nanochat_session_load(model, path, NULL, &loaded, &error));
  CHECK(nanochat_session_length(loaded) == 30);
  CHECK_OK(nanochat_session_eval(session, tokens + 30, 1, NANOCHAT_LOGITS_LAST, direct, kVocab, NULL, &error));
  CHECK_OK(nanochat_session_eval(loaded, tokens + 30, 1, NANOCHAT_LOGITS_LAST, after, kVocab, NULL, &error));
  CHECK(memcmp(direct, after, sizeof direct) == 0);
  nanochat_session_free(loaded);
  loaded = NULL;

  FILE *file = fopen(path, "r+b");
  fseek(file, -5, SEEK_END);
  const int byte = fgetc(file);
  fseek(file, -5, SEEK_END);
  fputc(byte ^ 1, file);
  fclose(file);
  CHECK_SAYS(nanochat_session_load(model, path, NULL, &loaded, &error), NANOCHAT_STATUS_CHECKSUM_MISMATCH,
             "session.bin", "");
  CHECK(truncate(path, 100) == 0);
  CHECK_STATUS(nanochat_session_load(model, path, NULL, &loaded, &error), NANOCHAT_STATUS_FORMAT_INVALID);
  CHECK_STATUS(nanochat_session_load(model, "/nowhere.bin", NULL, &loaded, &error), NANOCHAT_STATUS_FILE_NOT_FOUND);
  CHECK_STATUS(nanochat_session_save(session, "/nowhere/at/all.bin", &error), NANOCHAT_STATUS_FILE_NOT_FOUND);
  CHECK(loaded == NULL);
  nanochat_session_free(session);
}

struct job {
  const nanochat_model *model;
  float logits[kVocab];
};

static void *run_job(void *argument) {
  struct job *job = argument;
  nanochat_error *error = NULL;
  int32_t tokens[kTokens];
  fill_tokens(tokens);
  for (int round = 0; round < 5; ++round) {
    nanochat_session *session = fresh(job->model, 64);
    CHECK_OK(nanochat_session_eval(session, tokens, kTokens, NANOCHAT_LOGITS_LAST, job->logits, kVocab, NULL, &error));
    nanochat_session_free(session);
  }
  return NULL;
}

static void test_one_model_serves_several_threads(nanochat_model *model) {
  struct job jobs[3];
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) {
    jobs[i].model = model;
    CHECK(pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0);
  }
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  CHECK(memcmp(jobs[0].logits, jobs[1].logits, sizeof jobs[0].logits) == 0);
  CHECK(memcmp(jobs[0].logits, jobs[2].logits, sizeof jobs[0].logits) == 0);
}

int main(int argc, char **argv) {
  nanochat_runtime *runtime = make_runtime(2);
  nanochat_model *model = load(runtime);
  test_same_bits_whole_in_chunks_and_on_any_number_of_threads();
  test_copy_and_truncate_are_exact(model);
  test_bad_calls_leave_the_session_as_it_was(model);
  test_kv_dtypes(model, argc > 1 ? argv[1] : ".");
  test_save_and_load(model, argc > 1 ? argv[1] : ".");
  test_one_model_serves_several_threads(model);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
