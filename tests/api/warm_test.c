/* A warm fleet through the public header: what it says of itself, what it answers, how it is exchanged and shut down. */
#include "sample_fleet.h"

static char other_folder[1024];

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

int main(int argc, char **argv) {
  nanochat_runtime *runtime = make_runtime(2);
  nanochat_registry *registry;
  nanochat_error *error = NULL;
  make_sample(runtime, argc > 1 ? argv[1] : ".", "warm_use_fleet");
  snprintf(other_folder, sizeof other_folder, "%.900s/warm_use_other", argc > 1 ? argv[1] : ".");
  CHECK_OK(nanochat_warm_create_sample(runtime, other_folder, 2, NULL, &error));
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
  nanochat_runtime_free(runtime);
  return finish_checks();
}
