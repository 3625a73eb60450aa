/* Version, status and error. */
#include "check.h"

static void test_the_exit_code_table(void) {
  static const struct {
    nanochat_status status;
    const char *code;
    const char *category;
  } fatal[] = {
      {101, "ERR-WARM-MODEL-MISSING", "MODEL_FILE"},
      {102, "ERR-WARM-MODEL-LOAD", "MODEL_LOAD"},
      {103, "ERR-WARM-MODEL-VALIDATION", "MODEL_VALIDATION"},
      {104, "ERR-WARM-VRAM-INSUFFICIENT", "VRAM"},
      {105, "ERR-WARM-VRAM-HEADROOM", "VRAM"},
      {106, "ERR-WARM-CUDA-INIT", "CUDA"},
      {107, "ERR-WARM-CUDA-CAPABILITY", "CUDA"},
      {108, "ERR-WARM-CUDA-ALLOC", "CUDA"},
      {109, "ERR-WARM-CUDA-CONTEXT-LOST", "CUDA"},
      {110, "ERR-WARM-MODEL-DIMENSION-MISMATCH", "MODEL_VALIDATION"},
  };
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; ++i) {
    CHECK(strcmp(nanochat_status_code_string(fatal[i].status), fatal[i].code) == 0);
    CHECK(strcmp(nanochat_status_category(fatal[i].status), fatal[i].category) == 0);
    CHECK(nanochat_status_is_fatal(fatal[i].status) == 1);
    CHECK(nanochat_status_exit_code(fatal[i].status) == fatal[i].status);
  }
  static const struct {
    nanochat_status status;
    const char *code;
    const char *category;
  } others[] = {
      {NANOCHAT_STATUS_MODEL_ALREADY_REGISTERED, "ERR-WARM-REGISTRY-DUPLICATE", "REGISTRY"},
      {NANOCHAT_STATUS_MODEL_NOT_REGISTERED, "ERR-WARM-REGISTRY-MISSING", "REGISTRY"},
      {NANOCHAT_STATUS_CONFIG_INVALID, "ERR-WARM-CONFIG-INVALID", "CONFIG"},
      {NANOCHAT_STATUS_REGISTRY_LOCK_POISONED, "ERR-WARM-REGISTRY-POISON", "REGISTRY"},
      {NANOCHAT_STATUS_WORKING_MEMORY_EXHAUSTED, "ERR-WARM-MEMORY-WORKING", "MEMORY"},
      {NANOCHAT_STATUS_CUDA_NOT_AVAILABLE, "ERR-WARM-CUDA-UNAVAILABLE", "CUDA"},
      {NANOCHAT_STATUS_CUDA_QUERY_FAILED, "ERR-WARM-CUDA-QUERY", "CUDA"},
      {NANOCHAT_STATUS_DIAGNOSTIC_DUMP_FAILED, "ERR-WARM-DIAGNOSTIC-DUMP", "DIAGNOSTIC"},
      {NANOCHAT_STATUS_LOAD_TIMEOUT, "ERR-WARM-LOAD-TIMEOUT", "TIMEOUT"},
      {NANOCHAT_STATUS_VRAM_ALLOCATION_FAILED, "ERR-WARM-VRAM-ALLOC", "MEMORY"},
  };
  for (size_t i = 0; i < sizeof others / sizeof others[0]; ++i) {
    CHECK(strcmp(nanochat_status_code_string(others[i].status), others[i].code) == 0);
    CHECK(strcmp(nanochat_status_category(others[i].status), others[i].category) == 0);
  }
  int known = 0;
  for (nanochat_status status = 1; status < 101; ++status) {
    CHECK(nanochat_status_is_fatal(status) == 0);
    CHECK(nanochat_status_exit_code(status) == 1);
    if (strcmp(nanochat_status_name(status), "UNKNOWN") != 0) ++known;
  }
  CHECK(known == 31);
  CHECK(nanochat_status_exit_code(NANOCHAT_OK) == 0);
  CHECK(strcmp(nanochat_status_name(-5), "UNKNOWN") == 0);
  CHECK(strcmp(nanochat_status_name(INT32_MAX), "UNKNOWN") == 0);
}

static void test_version(void) {
  nanochat_error *error = NULL;
  CHECK(nanochat_version_number() == NANOCHAT_VERSION_NUMBER);
  CHECK(strcmp(nanochat_version_string(), NANOCHAT_VERSION_STRING) == 0);
  CHECK_OK(nanochat_check_version(NANOCHAT_VERSION_NUMBER, &error));
  CHECK_OK(nanochat_check_version(NANOCHAT_VERSION_NUMBER + 1, &error));
  CHECK_SAYS(nanochat_check_version(NANOCHAT_VERSION_NUMBER + 100, &error), NANOCHAT_STATUS_VERSION_MISMATCH, "0.2.0",
             NANOCHAT_VERSION_STRING);
  CHECK_SAYS(nanochat_check_version(10000, &error), NANOCHAT_STATUS_VERSION_MISMATCH, "1.0.0", "0.1.0");
  CHECK(strstr(nanochat_build_info(), "\"version\":\"" NANOCHAT_VERSION_STRING "\"") != NULL);
}

static void test_an_error_tells_the_whole_story(void) {
  nanochat_runtime *runtime = make_runtime(1);
  nanochat_model *model = NULL;
  nanochat_error *error = NULL;
  CHECK(nanochat_model_load(runtime, "/nowhere/at-all", NULL, &model, &error) ==
        NANOCHAT_STATUS_MODEL_FILE_MISSING);
  CHECK(model == NULL);
  CHECK(nanochat_error_status(error) == NANOCHAT_STATUS_MODEL_FILE_MISSING);
  CHECK(strstr(nanochat_error_message(error), "Model file missing: at-all not found at ") != NULL);
  CHECK(nanochat_error_field_count(error) == 2);
  CHECK(strcmp(nanochat_error_field_name(error, 0), "model_id") == 0);
  CHECK(strcmp(nanochat_error_field_value(error, 0), "at-all") == 0);
  CHECK(strcmp(nanochat_error_field_name(error, 1), "path") == 0);
  CHECK(strcmp(nanochat_error_field_name(error, 2), "") == 0);
  CHECK(strlen(nanochat_error_hint(error)) > 0);
  CHECK(strstr(nanochat_error_to_json(error), "\"code\":\"ERR-WARM-MODEL-MISSING\"") != NULL);
  CHECK(strstr(nanochat_error_to_json(error), "\"schema\":\"nanochat.error.v1\"") != NULL);
  nanochat_error_free(error);
  nanochat_runtime_free(runtime);
}

static void test_null_is_legal_where_the_header_says_so(void) {
  CHECK(nanochat_error_status(NULL) == NANOCHAT_OK);
  CHECK(strcmp(nanochat_error_message(NULL), "") == 0);
  CHECK(strcmp(nanochat_error_subject(NULL), "") == 0);
  CHECK(strcmp(nanochat_error_hint(NULL), "") == 0);
  CHECK(nanochat_error_os_code(NULL) == 0);
  CHECK(nanochat_error_cause(NULL) == NULL);
  CHECK(nanochat_error_field_count(NULL) == 0);
  CHECK(strcmp(nanochat_error_to_json(NULL), "") == 0);
  nanochat_error_free(NULL);
  nanochat_text_free(NULL);
  nanochat_cancel_free(NULL);
  nanochat_runtime_free(NULL);
  nanochat_tokenizer_free(NULL);
  nanochat_model_free(NULL);
  nanochat_session_free(NULL);
  nanochat_generation_free(NULL);
  CHECK(nanochat_text_size(NULL) == 0);
  CHECK(strcmp(nanochat_text_data(NULL), "") == 0);
}

static void test_cancel_is_a_switch(void) {
  nanochat_cancel *cancel = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  CHECK(nanochat_cancel_requested(cancel) == 0);
  nanochat_cancel_request(cancel);
  CHECK(nanochat_cancel_requested(cancel) == 1);
  nanochat_cancel_reset(cancel);
  CHECK(nanochat_cancel_requested(cancel) == 0);
  nanochat_cancel_request(NULL);
  nanochat_cancel_reset(NULL);
  CHECK(nanochat_cancel_requested(NULL) == 0);
  CHECK_SAYS(nanochat_cancel_create(NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_cancel", "NULL");
  nanochat_cancel_free(cancel);
}

int main(void) {
  test_the_exit_code_table();
  test_version();
  test_an_error_tells_the_whole_story();
  test_null_is_legal_where_the_header_says_so();
  test_cancel_is_a_switch();
  return finish_checks();
}
