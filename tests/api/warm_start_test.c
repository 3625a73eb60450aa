/* How a fleet starts, through the public header: options, environment, plan, progress, health meanwhile, every failure. */
#include <pthread.h>

#include "sample_fleet.h"

static void test_null_arguments(const nanochat_runtime *runtime) {
  nanochat_error *error = NULL;
  nanochat_registry *registry = NULL;
  nanochat_text *text = NULL;
  CHECK_SAYS(nanochat_warm_plan(NULL, manifest, NULL, &text, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "runtime",
             "NULL");
  CHECK_SAYS(nanochat_warm_plan(runtime, NULL, NULL, &text, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "manifest",
             "NULL");
  CHECK_SAYS(nanochat_warm_plan(runtime, manifest, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_json",
             "NULL");
  CHECK_SAYS(nanochat_registry_open(runtime, manifest, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "out_registry", "NULL");
  CHECK_SAYS(nanochat_registry_open(runtime, "", NULL, &registry, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "manifest",
             "empty");
  CHECK_SAYS(nanochat_warm_load(NULL, manifest, NULL, &registry, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "runtime",
             "NULL");
  CHECK_SAYS(nanochat_registry_warm(NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "registry", "NULL");
  CHECK_SAYS(nanochat_registry_shutdown(NULL, 0, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "registry", "NULL");
  CHECK_SAYS(nanochat_registry_verify(NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "registry", "NULL");
  CHECK_SAYS(nanochat_registry_dump(NULL, NULL, &text, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "registry",
             "NULL");
  CHECK_SAYS(nanochat_health_check(NULL, 0, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "registry", "NULL");
  CHECK_SAYS(nanochat_health_report_entry(NULL, 0, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "report", "NULL");
  CHECK_SAYS(nanochat_health_report_to_json(NULL, &text, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "report", "NULL");
  CHECK_SAYS(nanochat_warm_create_sample(runtime, NULL, 1, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "path",
             "NULL");
  CHECK_SAYS(nanochat_warm_options_from_env(NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "options", "NULL");
  CHECK(registry == NULL && text == NULL);
  CHECK(nanochat_registry_count(NULL) == 0 && nanochat_registry_is_warm(NULL) == 0);
  CHECK(nanochat_health_report_count(NULL) == 0 && *nanochat_health_report_line(NULL) == '\0');
  CHECK(nanochat_health_report_overall(NULL) == NANOCHAT_HEALTH_NOT_INITIALIZED);
  nanochat_registry_free(NULL);
  nanochat_health_report_free(NULL);
  nanochat_warm_options_init(NULL, 0);
  nanochat_replace_options_init(NULL, 0);
}

static void check_option_refusal(const nanochat_runtime *runtime, const nanochat_warm_options *options, const char *name,
                                 const char *value) {
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
  CHECK_SAYS(nanochat_registry_open(runtime, manifest, options, &registry, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             name, value);
  CHECK(registry == NULL);
}

static void test_options_are_checked(const nanochat_runtime *runtime) {
  nanochat_warm_options options;
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
#define REFUSE(field, bad)                                  \
  do {                                                      \
    nanochat_warm_options_init(&options, sizeof options);   \
    options.field = bad;                                    \
    check_option_refusal(runtime, &options, #field, #bad);  \
  } while (0)
  REFUSE(test_inference, 3);
  REFUSE(lock_memory, -1);
  REFUSE(quantization, 5);
  REFUSE(parallel_loads, -1);
  REFUSE(device_id, -2);
  REFUSE(min_capability, -2);
#undef REFUSE
  options.struct_size = 8;
  check_option_refusal(runtime, &options, "nanochat_warm_options", "8");
  options = quiet_options();
  options.device_id = 3;
  CHECK_SAYS(nanochat_registry_open(runtime, manifest, &options, &registry, &error), NANOCHAT_STATUS_CONFIG_INVALID, "3",
             "cpu");
  options = quiet_options();
  options.model_weights_path = "/no/such/folder";
  CHECK_SAYS(nanochat_registry_open(runtime, manifest, &options, &registry, &error), NANOCHAT_STATUS_CONFIG_INVALID,
             "model_weights_path", "/no/such/folder");
  CHECK_SAYS(nanochat_registry_open(runtime, "/no/such/manifest.json", NULL, &registry, &error),
             NANOCHAT_STATUS_FILE_NOT_FOUND, "/no/such/manifest.json", "");
}

static void test_environment(void) {
  static const char *const kNames[] = {"WARM_VRAM_BUDGET_BYTES",     "WARM_VRAM_HEADROOM_BYTES", "WARM_MODEL_WEIGHTS_PATH",
                                       "WARM_DIAGNOSTIC_DUMP_PATH",  "WARM_MAX_LOAD_TIME_MS",    "WARM_CUDA_DEVICE_ID",
                                       "WARM_ENABLE_TEST_INFERENCE", "WARM_QUANTIZATION"};
  static const char *const kGood[] = {"1000", "0", "/models", "", "250", "0", "Off", "fp8"};
  static const char *const kBad[] = {"0", "-1", NULL, NULL, "soon", "x", "maybe", "FP17"};
  nanochat_warm_options options = NANOCHAT_WARM_OPTIONS_INIT;
  nanochat_error *error = NULL;
  size_t i;
  options.parallel_loads = 7;
  for (i = 0; i < 8; ++i) unsetenv(kNames[i]);
  CHECK_OK(nanochat_warm_options_from_env(&options, &error));
  CHECK(options.vram_budget_bytes == 0 && options.model_weights_path == NULL && options.test_inference == 0);
  for (i = 0; i < 8; ++i) setenv(kNames[i], kGood[i], 1);
  CHECK_OK(nanochat_warm_options_from_env(&options, &error));
  CHECK(options.vram_budget_bytes == 1000 && options.vram_headroom_bytes == NANOCHAT_WARM_NO_HEADROOM);
  CHECK(strcmp(options.model_weights_path, "/models") == 0 && strcmp(options.diagnostic_dump_path, "") == 0);
  CHECK(options.max_load_time_per_model_ms == 250 && options.device_id == -1);
  CHECK(options.test_inference == NANOCHAT_SWITCH_OFF && options.quantization == NANOCHAT_WARM_QUANTIZATION_FP8);
  CHECK(options.parallel_loads == 7 && options.struct_size == sizeof options);
  for (i = 0; i < 8; ++i) unsetenv(kNames[i]);
  for (i = 0; i < 8; ++i) {
    if (kBad[i] == NULL) continue;
    setenv(kNames[i], kBad[i], 1);
    CHECK_SAYS(nanochat_warm_options_from_env(&options, &error), NANOCHAT_STATUS_CONFIG_INVALID, kNames[i], kBad[i]);
    unsetenv(kNames[i]);
  }
  CHECK(options.vram_budget_bytes == 1000);
}

static void test_plan_loads_nothing(const nanochat_runtime *runtime) {
  nanochat_warm_options options = quiet_options();
  nanochat_memory_info memory = {0};
  nanochat_text *json = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_warm_plan(runtime, manifest, &options, &json, &error));
  CHECK(contains(json, "\"fits\": true") && contains(json, "E12_LateInteraction"));
  nanochat_text_free(json);
  options.vram_budget_bytes = 1000;
  CHECK_OK(nanochat_warm_plan(runtime, manifest, &options, &json, &error));
  CHECK(contains(json, "\"fits\": false") && contains(json, "ERR-WARM-VRAM-INSUFFICIENT"));
  nanochat_text_free(json);
  memory.struct_size = sizeof memory;
  CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
  CHECK(memory.model_bytes == 0);
}

static void test_nothing_is_served_before_all_is_warm(const nanochat_runtime *runtime) {
  nanochat_registry *registry = open_sample(runtime);
  nanochat_embeddings *embeddings = NULL;
  nanochat_model *model = NULL;
  nanochat_component_info info = {0};
  nanochat_error *error = NULL;
  const char *text = TEXT;
  size_t index = 99;
  CHECK(nanochat_registry_count(registry) == 13 && nanochat_registry_is_warm(registry) == 0);
  CHECK_OK(nanochat_registry_find(registry, "FuseMoE", &index, &error));
  CHECK(index == 12);
  CHECK_SAYS(nanochat_registry_find(registry, "E13", &index, &error), NANOCHAT_STATUS_MODEL_NOT_REGISTERED, "E13", "13");
  CHECK_SAYS(nanochat_registry_find(registry, NULL, &index, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "id", "NULL");
  info = describe(registry, "E1_Semantic");
  CHECK(info.state == NANOCHAT_WARM_STATE_PENDING && info.address == 0 && info.bytes == 0);
  CHECK(info.planned_bytes > 0 && info.dimension == 64 && info.load_ms == -1 && info.checksum[0] == '\0');
  info.struct_size = sizeof info;
  CHECK_SAYS(nanochat_registry_describe(registry, 13, &info, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "13", "13");
  info.struct_size = 16;
  CHECK_STATUS(nanochat_registry_describe(registry, 0, &info, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK(overall_health(registry, 0) == NANOCHAT_HEALTH_NOT_INITIALIZED);
  CHECK(overall_health(registry, 1) == NANOCHAT_HEALTH_NOT_INITIALIZED);
  CHECK_SAYS(nanochat_registry_embed_text(registry, "E1_Semantic", &text, NULL, 1, NULL, &embeddings, &error),
             NANOCHAT_STATUS_INVALID_STATE, "E1_Semantic", "not warm");
  CHECK_STATUS(nanochat_registry_model(registry, "E1_Semantic", &model, &error), NANOCHAT_STATUS_INVALID_STATE);
  CHECK(embeddings == NULL && model == NULL);
  nanochat_registry_free(registry);
}

struct Watched {
  nanochat_registry *registry;
  volatile int32_t is_over;
  int n_loading, n_asked, n_progress, n_warm, n_wrong;
};

static void *ask_for_health(void *given) {
  struct Watched *watched = given;
  while (!watched->is_over) {
    const int32_t overall = overall_health(watched->registry, 0);
    watched->n_loading += overall == NANOCHAT_HEALTH_LOADING;
    watched->n_wrong += overall == NANOCHAT_HEALTH_UNHEALTHY || overall == NANOCHAT_HEALTH_DEGRADED;
    ++watched->n_asked;
  }
  return NULL;
}

static int32_t count_progress(const nanochat_warm_progress *progress, void *given) {
  struct Watched *watched = given;
  ++watched->n_progress;
  watched->n_warm += progress->state == NANOCHAT_WARM_STATE_WARM;
  watched->n_wrong += progress->struct_size != sizeof *progress || progress->id[0] == '\0' ||
                      progress->bytes_loaded > progress->total_bytes || progress->fleet_loaded > progress->fleet_total;
  return 0;
}

static void test_health_is_told_while_loading(const nanochat_runtime *runtime) {
  struct Watched watched = {0};
  nanochat_warm_options options = quiet_options();
  nanochat_error *error = NULL;
  pthread_t thread;
  watched.registry = open_sample(runtime);
  options.progress = count_progress;
  options.progress_user_data = &watched;
  CHECK(pthread_create(&thread, NULL, ask_for_health, &watched) == 0);
  CHECK_OK(nanochat_registry_warm(watched.registry, &options, &error));
  watched.is_over = 1;
  pthread_join(thread, NULL);
  CHECK(watched.n_asked > 0 && watched.n_wrong == 0 && watched.n_warm >= 13);
  CHECK(nanochat_registry_is_warm(watched.registry) == 1);
  CHECK(overall_health(watched.registry, 0) == NANOCHAT_HEALTH_HEALTHY);
  CHECK_SAYS(nanochat_registry_warm(watched.registry, &options, &error), NANOCHAT_STATUS_INVALID_STATE, "sample-12",
             "before");
  nanochat_registry_free(watched.registry);
}

struct Dump {
  int n;
  char path[2048];
};

static void keep_dump(const char *json, size_t size, const char *path, void *given) {
  struct Dump *dump = given;
  ++dump->n;
  snprintf(dump->path, sizeof dump->path, "%s", path);
  CHECK(strlen(json) == size && strstr(json, "\"summary\"") != NULL && strstr(json, "\"error\"") != NULL);
}

static int32_t stop_at_once(const nanochat_warm_progress *progress, void *given) {
  (void)progress;
  (void)given;
  return 1;
}

static void test_failed_starts_leave_a_dump(const nanochat_runtime *runtime) {
  nanochat_warm_options options = NANOCHAT_WARM_OPTIONS_INIT;
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
  struct Dump dump = {0};
  char file[1300], moved[1320];
  options.on_dump = keep_dump;
  options.dump_user_data = &dump;

  /* While it is opened: the file's absence shows in the headers. The dump lies where the manifest says. */
  snprintf(file, sizeof file, "%s/E5_Causal/model.safetensors", fleet_folder);
  snprintf(moved, sizeof moved, "%s.moved", file);
  CHECK(rename(file, moved) == 0);
  CHECK_SAYS(nanochat_warm_load(runtime, manifest, &options, &registry, &error), NANOCHAT_STATUS_MODEL_FILE_MISSING,
             "E5_Causal", "/E5_Causal");
  CHECK(rename(moved, file) == 0);
  CHECK(dump.n == 1 && strncmp(dump.path, fleet_folder, strlen(fleet_folder)) == 0 && access(dump.path, R_OK) == 0);

  /* Before anything is loaded. */
  options.vram_budget_bytes = 1000;
  CHECK_SAYS(nanochat_warm_load(runtime, manifest, &options, &registry, &error),
             NANOCHAT_STATUS_VRAM_INSUFFICIENT_TOTAL, "required", "available");
  CHECK(dump.n == 2 && dump.path[0] != '\0');
  options.vram_budget_bytes = 0;
  options.vram_headroom_bytes = (uint64_t)1 << 60;
  CHECK_STATUS(nanochat_warm_load(runtime, manifest, &options, &registry, &error),
               NANOCHAT_STATUS_VRAM_INSUFFICIENT_HEADROOM);
  options.vram_headroom_bytes = NANOCHAT_WARM_NO_HEADROOM;
  options.min_capability = 120;
  CHECK_SAYS(nanochat_warm_load(runtime, manifest, &options, &registry, &error),
             NANOCHAT_STATUS_CUDA_CAPABILITY_INSUFFICIENT, "12.0", "0.0");
  options.min_capability = 0;
  CHECK(dump.n == 4);

  /* While it is loaded: these answers are not those of fp32. */
  options.quantization = NANOCHAT_WARM_QUANTIZATION_INT8;
  options.diagnostic_dump_path = "";
  CHECK_STATUS(nanochat_warm_load(runtime, manifest, &options, &registry, &error),
               NANOCHAT_STATUS_MODEL_VALIDATION_FAILED);
  CHECK(dump.n == 5 && dump.path[0] == '\0');

  /* Without asking for them they pass. */
  options.test_inference = NANOCHAT_SWITCH_OFF;
  CHECK_OK(nanochat_warm_load(runtime, manifest, &options, &registry, &error));
  nanochat_registry_free(registry);
  registry = NULL;

  /* Who stops a start needs no dump. */
  options.progress = stop_at_once;
  CHECK_STATUS(nanochat_warm_load(runtime, manifest, &options, &registry, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK(dump.n == 5 && registry == NULL);
}

static void test_cancel(const nanochat_runtime *runtime) {
  nanochat_warm_options options = quiet_options();
  nanochat_registry *registry = NULL, *warm = warm_sample(runtime);
  nanochat_health_report *report = NULL;
  nanochat_embeddings *embeddings = NULL;
  nanochat_cancel *cancel = NULL;
  nanochat_error *error = NULL;
  const char *text = TEXT;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  nanochat_cancel_request(cancel);
  options.cancel = cancel;
  CHECK_STATUS(nanochat_warm_load(runtime, manifest, &options, &registry, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK_STATUS(nanochat_health_check(warm, 1, cancel, &report, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK_STATUS(nanochat_registry_verify(warm, cancel, &error), NANOCHAT_STATUS_CANCELLED);
  CHECK_STATUS(nanochat_registry_embed_text(warm, "E1_Semantic", &text, NULL, 1, cancel, &embeddings, &error),
               NANOCHAT_STATUS_CANCELLED);
  CHECK(registry == NULL && report == NULL && embeddings == NULL);
  nanochat_registry_free(warm);
  nanochat_cancel_free(cancel);
}

static void test_runtime_may_go_first(void) {
  nanochat_runtime *runtime = make_runtime(2);
  nanochat_registry *registry = warm_sample(runtime);
  nanochat_runtime_free(runtime);
  CHECK(overall_health(registry, 1) == NANOCHAT_HEALTH_HEALTHY);
  nanochat_registry_free(registry);
}

int main(int argc, char **argv) {
  nanochat_runtime *runtime = make_runtime(2);
  make_sample(runtime, argc > 1 ? argv[1] : ".", "warm_start_fleet");
  test_null_arguments(runtime);
  test_options_are_checked(runtime);
  test_environment();
  test_plan_loads_nothing(runtime);
  test_nothing_is_served_before_all_is_warm(runtime);
  test_health_is_told_while_loading(runtime);
  test_failed_starts_leave_a_dump(runtime);
  test_cancel(runtime);
  nanochat_runtime_free(runtime);
  test_runtime_may_go_first();
  return finish_checks();
}
