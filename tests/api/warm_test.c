/* A fleet through the public header: opened, planned, warmed, watched, asked, exchanged, shut down, and every refusal. */
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT "The quick brown fox jumps over the lazy dog"
#define MOMENT 1767441600.0

static char fleet_folder[1024], other_folder[1024], manifest[1100];

static nanochat_warm_options quiet_options(void) {
  nanochat_warm_options options = NANOCHAT_WARM_OPTIONS_INIT;
  options.diagnostic_dump_path = "";
  return options;
}

static nanochat_registry *open_sample(const nanochat_runtime *runtime) {
  nanochat_warm_options options = quiet_options();
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_registry_open(runtime, manifest, &options, &registry, &error));
  if (registry == NULL) exit(1);
  return registry;
}

static nanochat_registry *warm_sample(const nanochat_runtime *runtime) {
  nanochat_warm_options options = quiet_options();
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_warm_load(runtime, manifest, &options, &registry, &error));
  if (registry == NULL) exit(1);
  return registry;
}

static int32_t overall_health(const nanochat_registry *registry, int32_t full) {
  nanochat_health_report *report = NULL;
  nanochat_error *error = NULL;
  int32_t overall;
  CHECK_OK(nanochat_health_check(registry, full, NULL, &report, &error));
  overall = nanochat_health_report_overall(report);
  nanochat_health_report_free(report);
  return overall;
}

static nanochat_component_info describe(const nanochat_registry *registry, const char *id) {
  nanochat_component_info info = {0};
  nanochat_error *error = NULL;
  size_t index = 0;
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_registry_find(registry, id, &index, &error));
  CHECK_OK(nanochat_registry_describe(registry, index, &info, &error));
  return info;
}

static int same_values(const nanochat_embeddings *a, const nanochat_embeddings *b) {
  const size_t n = nanochat_embeddings_width(a) * nanochat_embeddings_rows(a, 0);
  return n > 0 && n == nanochat_embeddings_width(b) * nanochat_embeddings_rows(b, 0) &&
         memcmp(nanochat_embeddings_values(a, 0), nanochat_embeddings_values(b, 0), n * sizeof(float)) == 0;
}

static nanochat_embeddings *embed(const nanochat_registry *registry, const char *id, const char *text) {
  nanochat_embeddings *embeddings = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_registry_embed_text(registry, id, &text, NULL, 1, NULL, &embeddings, &error));
  return embeddings;
}

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

static int contains(const nanochat_text *text, const char *word) {
  return strstr(nanochat_text_data(text), word) != NULL;
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

static void check_entry(const nanochat_health_report *report, size_t index) {
  nanochat_component_health health = {0};
  nanochat_error *error = NULL;
  int32_t is_computed;
  health.struct_size = sizeof health;
  CHECK_OK(nanochat_health_report_entry(report, index, &health, &error));
  is_computed = health.kind >= NANOCHAT_COMPONENT_TEMPORAL_RECENT;
  CHECK(health.state == NANOCHAT_WARM_STATE_WARM && strcmp(health.status, "warm") == 0 && health.message[0] == '\0');
  CHECK(health.test_passed == 1 && health.last_latency_us >= 0 && health.error == NANOCHAT_OK);
  CHECK((health.address == 0) == is_computed && (health.allocation_bytes == 0) == is_computed);
  CHECK(health.allocation_bytes == health.expected_bytes && health.is_resident == !is_computed);
  CHECK((strlen(health.checksum) == 32) == !is_computed && health.dimension > 0 && health.load_ms >= 0);
}

static void test_health(const nanochat_registry *registry) {
  nanochat_health_report *report = NULL;
  nanochat_component_health health = {0};
  nanochat_text *json = NULL;
  nanochat_error *error = NULL;
  size_t i;
  CHECK_OK(nanochat_health_check(registry, 1, NULL, &report, &error));
  CHECK(nanochat_health_report_overall(report) == NANOCHAT_HEALTH_HEALTHY);
  CHECK(nanochat_health_report_count(report) == 13);
  CHECK(strncmp(nanochat_health_report_line(report), "WARM: 13/13 models | ", 21) == 0);
  for (i = 0; i < 13; ++i) check_entry(report, i);
  CHECK_OK(nanochat_health_report_to_json(report, &json, &error));
  CHECK(contains(json, "\"status\": \"healthy\"") && contains(json, "\"model_id\": \"E9_HDC\""));
  CHECK(contains(json, "\"test_fusion_passed\": true") && contains(json, "\"total_model_vram_bytes\""));
  nanochat_text_free(json);
  health.struct_size = sizeof health;
  CHECK_SAYS(nanochat_health_report_entry(report, 13, &health, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "13", "13");
  nanochat_health_report_free(report);
}

static void test_every_component_answers(const nanochat_registry *registry) {
  static const struct {
    const char *id, *text;
    size_t width;
    int form;
  } kExpected[] = {{"E1_Semantic", TEXT, 64, NANOCHAT_FORM_DENSE},
                   {"E2_TemporalRecent", "2026-01-03T12:00:00Z", 512, NANOCHAT_FORM_DENSE},
                   {"E3_TemporalPeriodic", "2026-01-03T12:00:00Z", 512, NANOCHAT_FORM_DENSE},
                   {"E4_TemporalPositional", "17", 512, NANOCHAT_FORM_DENSE},
                   {"E5_Causal", TEXT, 48, NANOCHAT_FORM_DENSE},
                   {"E6_Sparse", TEXT, 256, NANOCHAT_FORM_SPARSE},
                   {"E7_Code", TEXT, 16, NANOCHAT_FORM_DENSE},
                   {"E8_Graph", TEXT, 24, NANOCHAT_FORM_DENSE},
                   {"E9_HDC", TEXT, 10000, NANOCHAT_FORM_BITS},
                   {"E10_Multimodal", TEXT, 48, NANOCHAT_FORM_DENSE},
                   {"E11_Entity", TEXT, 24, NANOCHAT_FORM_DENSE},
                   {"E12_LateInteraction", TEXT, 8, NANOCHAT_FORM_TOKENS}};
  size_t i;
  for (i = 0; i < 12; ++i) {
    nanochat_embeddings *embeddings = embed(registry, kExpected[i].id, kExpected[i].text);
    const size_t rows = nanochat_embeddings_rows(embeddings, 0);
    CHECK(nanochat_embeddings_count(embeddings) == 1 && nanochat_embeddings_width(embeddings) == kExpected[i].width);
    CHECK((rows == 1) == (kExpected[i].form == NANOCHAT_FORM_DENSE));
    CHECK((rows > 1) == (kExpected[i].form == NANOCHAT_FORM_TOKENS));
    CHECK((nanochat_embeddings_bits(embeddings, 0) != NULL) == (kExpected[i].form == NANOCHAT_FORM_BITS));
    CHECK((nanochat_embeddings_sparse(embeddings, 0, NULL, NULL) > 0) == (kExpected[i].form == NANOCHAT_FORM_SPARSE));
    nanochat_embeddings_free(embeddings);
  }
}

/* The handle's functions with the manifest's settings give the component's own bits. */
static void test_handles_are_the_component(const nanochat_registry *registry) {
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  nanochat_embeddings *own = NULL, *expected = embed(registry, "E1_Semantic", TEXT);
  nanochat_model_info info = {0};
  nanochat_error *error = NULL;
  const char *text = TEXT;
  CHECK_OK(nanochat_registry_model(registry, "E1_Semantic", &model, &error));
  CHECK_OK(nanochat_registry_tokenizer(registry, "E1_Semantic", &tokenizer, &error));
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_model_describe(model, &info, &error));
  CHECK(info.weight_bytes == describe(registry, "E1_Semantic").bytes && info.kind == NANOCHAT_MODEL_ENCODER);
  options.pooling = NANOCHAT_POOLING_MEAN;
  options.normalization = NANOCHAT_NORMALIZATION_L2;
  options.prefix = "query: ";
  CHECK_OK(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &own, &error));
  CHECK(same_values(own, expected));
  nanochat_embeddings_free(own);
  nanochat_embeddings_free(expected);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
}

static void test_kinds_are_refused(const nanochat_registry *registry) {
  nanochat_model *model = NULL;
  nanochat_fusion *fusion = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_embeddings *embeddings = NULL;
  nanochat_error *error = NULL;
  const char *text = TEXT;
  CHECK_SAYS(nanochat_registry_model(registry, "E9_HDC", &model, &error), NANOCHAT_STATUS_UNSUPPORTED, "E9_HDC",
             "hyperdimensional");
  CHECK_SAYS(nanochat_registry_model(registry, "FuseMoE", &model, &error), NANOCHAT_STATUS_UNSUPPORTED, "FuseMoE",
             "fusion");
  CHECK_SAYS(nanochat_registry_fusion(registry, "E1_Semantic", &fusion, &error), NANOCHAT_STATUS_UNSUPPORTED,
             "E1_Semantic", "encoder");
  CHECK_SAYS(nanochat_registry_tokenizer(registry, "E2_TemporalRecent", &tokenizer, &error),
             NANOCHAT_STATUS_UNSUPPORTED, "E2_TemporalRecent", "tokenizer");
  CHECK_SAYS(nanochat_registry_embed_text(registry, "FuseMoE", &text, NULL, 1, NULL, &embeddings, &error),
             NANOCHAT_STATUS_UNSUPPORTED, "FuseMoE", "fusion");
  CHECK_STATUS(nanochat_registry_embed_text(registry, "E13", &text, NULL, 1, NULL, &embeddings, &error),
               NANOCHAT_STATUS_MODEL_NOT_REGISTERED);
  CHECK_SAYS(nanochat_registry_embed_text(registry, NULL, &text, NULL, 1, NULL, &embeddings, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "id", "NULL");
  CHECK_SAYS(nanochat_registry_embed_text(registry, "E1_Semantic", NULL, NULL, 1, NULL, &embeddings, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "texts", "NULL");
  CHECK_SAYS(nanochat_registry_embed_text(registry, "E2_TemporalRecent", &text, NULL, 1, NULL, &embeddings, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "quick", "time");
  CHECK(model == NULL && fusion == NULL && tokenizer == NULL && embeddings == NULL);
}

static void test_fusion(const nanochat_registry *registry) {
  const char *const texts[] = {TEXT, "another"};
  const double times[] = {MOMENT, MOMENT + 86400}, positions[] = {0, 1};
  nanochat_embeddings *two = NULL, *counted = NULL, *one = NULL;
  nanochat_routing_info routing = {0};
  nanochat_fusion *fusion = NULL;
  nanochat_fusion_info info = {0};
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_registry_fuse_text(registry, NULL, texts, NULL, times, NULL, 2, NULL, &two, &error));
  CHECK_OK(nanochat_registry_fuse_text(registry, "FuseMoE", texts, NULL, times, positions, 2, NULL, &counted, &error));
  CHECK_OK(nanochat_registry_fuse_text(registry, NULL, texts, NULL, times, NULL, 1, NULL, &one, &error));
  CHECK(nanochat_embeddings_count(two) == 2 && nanochat_embeddings_width(two) == 96);
  CHECK(same_values(two, counted) && same_values(one, two));
  routing.struct_size = sizeof routing;
  CHECK_OK(nanochat_embeddings_routing(two, 1, &routing, &error));
  CHECK(routing.n_experts == 8 && routing.n_selected == 4);
  CHECK_OK(nanochat_registry_fusion(registry, "FuseMoE", &fusion, &error));
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_fusion_describe(fusion, &info, &error));
  CHECK(info.input_width == 520 && info.output_width == 96);
  nanochat_fusion_free(fusion);
  nanochat_embeddings_free(two);
  nanochat_embeddings_free(counted);
  nanochat_embeddings_free(one);
  one = NULL;
  CHECK_SAYS(nanochat_registry_fuse_text(registry, NULL, texts, NULL, NULL, NULL, 2, NULL, &one, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "0 times", "2 texts");
  CHECK_STATUS(nanochat_registry_fuse_text(registry, "E1_Semantic", texts, NULL, times, NULL, 2, NULL, &one, &error),
               NANOCHAT_STATUS_UNSUPPORTED);
  CHECK(one == NULL);
}

static void test_dump_on_request(const nanochat_registry *registry) {
  nanochat_text *json = NULL, *path = NULL;
  nanochat_error *error = NULL;
  char folder[1200];
  CHECK_OK(nanochat_registry_dump(registry, NULL, &json, &path, &error));
  CHECK(contains(json, "\"summary\"") && contains(json, "\"allocation_history\"") && nanochat_text_size(path) == 0);
  nanochat_text_free(json);
  nanochat_text_free(path);
  snprintf(folder, sizeof folder, "%s/dumps", fleet_folder);
  CHECK_OK(nanochat_registry_dump(registry, folder, &json, &path, &error));
  CHECK(strncmp(nanochat_text_data(path), folder, strlen(folder)) == 0 && access(nanochat_text_data(path), R_OK) == 0);
  nanochat_text_free(json);
  nanochat_text_free(path);
}

static void test_record(const nanochat_registry *registry) {
  nanochat_text *text = NULL;
  nanochat_error *error = NULL;
  char folder[1200], file[1300];
  snprintf(folder, sizeof folder, "%s/recorded", fleet_folder);
  CHECK_OK(nanochat_registry_record(registry, folder, NULL, &text, &error));
  CHECK(contains(text, "\"reference\": \"recorded/E12_LateInteraction.safetensors\"") && contains(text, "\"checksum\""));
  nanochat_text_free(text);
  snprintf(file, sizeof file, "%s/FuseMoE.safetensors", folder);
  CHECK(access(file, R_OK) == 0);
}

static void test_replacement(const nanochat_runtime *runtime) {
  nanochat_registry *registry = warm_sample(runtime);
  nanochat_replace_options options = NANOCHAT_REPLACE_OPTIONS_INIT;
  nanochat_component_info before = describe(registry, "E8_Graph"), after;
  nanochat_embeddings *first = embed(registry, "E8_Graph", TEXT), *second, *old = NULL;
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_error *error = NULL;
  const char *text = TEXT;
  nanochat_embed_options embed_options = NANOCHAT_EMBED_OPTIONS_INIT;
  char path[1100], reference[1200];
  snprintf(path, sizeof path, "%s/E8_Graph", other_folder);
  snprintf(reference, sizeof reference, "%s/reference/E8_Graph.safetensors", other_folder);
  CHECK_OK(nanochat_registry_verify(registry, NULL, &error));

  /* Refused, and nothing has changed: other answers than the entry's, another checksum, another width, no such folder. */
  options.path = path;
  CHECK_STATUS(nanochat_registry_replace(registry, "E8_Graph", &options, &error),
               NANOCHAT_STATUS_MODEL_VALIDATION_FAILED);
  options.reference = reference;
  options.checksum = "00000000000000000000000000000000";
  CHECK_SAYS(nanochat_registry_replace(registry, "E8_Graph", &options, &error),
             NANOCHAT_STATUS_MODEL_VALIDATION_FAILED, "E8_Graph", "00000000000000000000000000000000");
  options.checksum = NULL;
  options.path = "E7_Code";
  CHECK_STATUS(nanochat_registry_replace(registry, "E8_Graph", &options, &error),
               NANOCHAT_STATUS_MODEL_DIMENSION_MISMATCH);
  options.path = "no such folder";
  CHECK_STATUS(nanochat_registry_replace(registry, "E8_Graph", &options, &error), NANOCHAT_STATUS_MODEL_FILE_MISSING);
  CHECK_STATUS(nanochat_registry_replace(registry, "E13", &options, &error), NANOCHAT_STATUS_MODEL_NOT_REGISTERED);
  after = describe(registry, "E8_Graph");
  CHECK(after.address == before.address && strcmp(after.checksum, before.checksum) == 0);

  /* A handle of the old version: it serves on, and the memory stays until it is freed. */
  CHECK_OK(nanochat_registry_model(registry, "E8_Graph", &model, &error));
  CHECK_OK(nanochat_registry_tokenizer(registry, "E8_Graph", &tokenizer, &error));
  options.path = path;
  options.drain_ms = 1;
  CHECK_SAYS(nanochat_registry_replace(registry, "E8_Graph", &options, &error), NANOCHAT_STATUS_DEADLINE_EXCEEDED,
             "E8_Graph", "users");
  CHECK_SAYS(nanochat_registry_replace(registry, "E8_Graph", &options, &error), NANOCHAT_STATUS_INVALID_STATE,
             "E8_Graph", "users");
  after = describe(registry, "E8_Graph");
  CHECK(after.address != before.address && strcmp(after.checksum, before.checksum) != 0);
  second = embed(registry, "E8_Graph", TEXT);
  CHECK(!same_values(first, second));
  embed_options.pooling = NANOCHAT_POOLING_MEAN;
  embed_options.normalization = NANOCHAT_NORMALIZATION_L2;
  CHECK_OK(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &embed_options, &old, &error));
  CHECK(same_values(first, old));
  nanochat_model_free(model);
  nanochat_tokenizer_free(tokenizer);
  options.drain_ms = 0;
  CHECK_OK(nanochat_registry_replace(registry, "E8_Graph", &options, &error));
  CHECK_OK(nanochat_registry_verify(registry, NULL, &error));
  CHECK(overall_health(registry, 1) == NANOCHAT_HEALTH_HEALTHY);
  nanochat_embeddings_free(first);
  nanochat_embeddings_free(second);
  nanochat_embeddings_free(old);
  nanochat_registry_free(registry);
}

static void test_shutdown(const nanochat_runtime *runtime) {
  nanochat_registry *registry = warm_sample(runtime);
  nanochat_memory_info memory = {0};
  nanochat_embeddings *embeddings = NULL;
  nanochat_model *model = NULL;
  nanochat_error *error = NULL;
  const char *text = TEXT;
  CHECK_OK(nanochat_registry_model(registry, "E1_Semantic", &model, &error));
  CHECK_SAYS(nanochat_registry_shutdown(registry, 1, &error), NANOCHAT_STATUS_DEADLINE_EXCEEDED, "E1_Semantic",
             "1 users");
  CHECK_SAYS(nanochat_registry_embed_text(registry, "E5_Causal", &text, NULL, 1, NULL, &embeddings, &error),
             NANOCHAT_STATUS_INVALID_STATE, "E5_Causal", "shut down");
  nanochat_model_free(model);
  CHECK_OK(nanochat_registry_shutdown(registry, 0, &error));
  CHECK_OK(nanochat_registry_shutdown(registry, 0, &error));
  CHECK(nanochat_registry_is_warm(registry) == 0);
  CHECK(overall_health(registry, 0) == NANOCHAT_HEALTH_NOT_INITIALIZED);
  memory.struct_size = sizeof memory;
  CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
  CHECK(memory.model_bytes == 0);
  nanochat_registry_free(registry);
}

/* A handle outlives its registry, and what is made from it outlives the handle. */
static void test_any_order_of_free(const nanochat_runtime *runtime) {
  nanochat_registry *registry = warm_sample(runtime);
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_embeddings *embeddings = NULL;
  nanochat_error *error = NULL;
  const char *text = TEXT;
  CHECK_OK(nanochat_registry_model(registry, "E11_Entity", &model, &error));
  CHECK_OK(nanochat_registry_tokenizer(registry, "E11_Entity", &tokenizer, &error));
  nanochat_registry_free(registry);
  CHECK_OK(nanochat_embed_text(model, tokenizer, &text, NULL, 1, NULL, &embeddings, &error));
  nanochat_embeddings_free(embeddings);
  nanochat_model_free(model);
  nanochat_tokenizer_free(tokenizer);
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
             "E5_Causal", file);
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
  nanochat_registry *registry;
  nanochat_error *error = NULL;
  snprintf(fleet_folder, sizeof fleet_folder, "%.900s/warm_test_fleet", argc > 1 ? argv[1] : ".");
  snprintf(other_folder, sizeof other_folder, "%.900s/warm_test_other", argc > 1 ? argv[1] : ".");
  snprintf(manifest, sizeof manifest, "%s/manifest.json", fleet_folder);
  CHECK_OK(nanochat_warm_create_sample(runtime, fleet_folder, 1, NULL, &error));
  CHECK_OK(nanochat_warm_create_sample(runtime, other_folder, 2, NULL, &error));
  test_null_arguments(runtime);
  test_options_are_checked(runtime);
  test_environment();
  test_plan_loads_nothing(runtime);
  test_nothing_is_served_before_all_is_warm(runtime);
  test_health_is_told_while_loading(runtime);
  registry = warm_sample(runtime);
  test_health(registry);
  test_every_component_answers(registry);
  test_handles_are_the_component(registry);
  test_kinds_are_refused(registry);
  test_fusion(registry);
  test_dump_on_request(registry);
  test_record(registry);
  nanochat_registry_free(registry);
  test_replacement(runtime);
  test_shutdown(runtime);
  test_any_order_of_free(runtime);
  test_failed_starts_leave_a_dump(runtime);
  test_cancel(runtime);
  nanochat_runtime_free(runtime);
  test_runtime_may_go_first();
  return finish_checks();
}
