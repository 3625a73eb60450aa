/* A fleet of twelve embedders and the fusion of their vectors: all of it is loaded and tested before anything is asked, or
 * nothing is. Then one sentence goes through every embedder, and their vectors become one.
 *
 *   warm FOLDER                  with FOLDER/manifest.json; if there is none, a small fleet with random weights is made
 *   warm FOLDER "a sentence" */
#include <nanochat.h>
#include <stdio.h>

/* On the thread that loads; another number than 0 would stop it. */
static int32_t show_progress(const nanochat_warm_progress *progress, void *user_data) {
  (void)user_data;
  if (progress->state == NANOCHAT_WARM_STATE_WARM)
    fprintf(stderr, "%s is warm, %llu bytes\n", progress->id, (unsigned long long)progress->total_bytes);
  return 0;
}

/* What went wrong, in full: for whoever has to find out later. */
static void show_dump(const char *json, size_t size, const char *path, void *user_data) {
  (void)user_data;
  if (*path != '\0')
    fprintf(stderr, "the dump is in %s\n", path);
  else
    fprintf(stderr, "%.*s\n", (int)size, json);
}

static nanochat_status open_fleet(const nanochat_runtime *runtime, const char *folder, nanochat_registry **fleet,
                                  nanochat_error **error) {
  char manifest[4096];
  nanochat_warm_options options = NANOCHAT_WARM_OPTIONS_INIT;
  nanochat_status status;
  FILE *file;

  snprintf(manifest, sizeof manifest, "%s/manifest.json", folder);
  file = fopen(manifest, "rb");
  if (file != NULL) {
    fclose(file);
  } else {
    status = nanochat_warm_create_sample(runtime, folder, 1, NULL, error);
    if (status != NANOCHAT_OK) return status;
  }
  /* WARM_VRAM_BUDGET_BYTES and its relatives; what is set here wins over the manifest. */
  status = nanochat_warm_options_from_env(&options, error);
  if (status != NANOCHAT_OK) return status;
  options.progress = show_progress;
  options.on_dump = show_dump;
  return nanochat_warm_load(runtime, manifest, &options, fleet, error);
}

static nanochat_status show_health(const nanochat_registry *fleet, nanochat_error **error) {
  nanochat_health_report *report = NULL;
  nanochat_component_health health = {0};
  nanochat_status status = nanochat_health_check(fleet, 1, NULL, &report, error);
  size_t i;

  if (status != NANOCHAT_OK) return status;
  printf("%s\n", nanochat_health_report_line(report));
  health.struct_size = sizeof health;
  for (i = 0; i < nanochat_health_report_count(report); ++i) {
    status = nanochat_health_report_entry(report, i, &health, error);
    if (status != NANOCHAT_OK) break;
    printf("  %-22s %-10s ", health.id, health.status);
    if (health.address == 0) {
      printf("computed, without weights"); /* as are E2, E3, E4 and E9 */
    } else {
      printf("%8llu bytes at 0x%016llx", (unsigned long long)health.allocation_bytes,
             (unsigned long long)health.address);
    }
    printf(", test %s\n", health.test_passed ? "passed" : "failed");
  }
  nanochat_health_report_free(report);
  return status;
}

/* Through one component, whatever it gives: a vector, words with weights, bits, a row for each token. */
static nanochat_status show_vector(const nanochat_registry *fleet, size_t index, const char *text,
                                   nanochat_error **error) {
  nanochat_component_info info = {0};
  nanochat_embeddings *vector = NULL;
  nanochat_status status;

  info.struct_size = sizeof info;
  status = nanochat_registry_describe(fleet, index, &info, error);
  if (status != NANOCHAT_OK || info.kind == NANOCHAT_COMPONENT_FUSION) return status;
  if (info.kind == NANOCHAT_COMPONENT_TEMPORAL_POSITIONAL) text = "0";
  if (info.kind == NANOCHAT_COMPONENT_TEMPORAL_RECENT || info.kind == NANOCHAT_COMPONENT_TEMPORAL_PERIODIC)
    text = "2026-01-03T12:00:00Z";
  status = nanochat_registry_embed_text(fleet, info.id, &text, NULL, 1, NULL, &vector, error);
  if (status != NANOCHAT_OK) return status;
  if (nanochat_embeddings_bits(vector, 0) != NULL)
    printf("  %-22s %llu bits\n", info.id, (unsigned long long)nanochat_embeddings_width(vector));
  else if (nanochat_embeddings_rows(vector, 0) == 0)
    printf("  %-22s weights for %llu of %llu words\n", info.id,
           (unsigned long long)nanochat_embeddings_sparse(vector, 0, NULL, NULL),
           (unsigned long long)nanochat_embeddings_width(vector));
  else
    printf("  %-22s %llu row(s) of %llu values\n", info.id, (unsigned long long)nanochat_embeddings_rows(vector, 0),
           (unsigned long long)nanochat_embeddings_width(vector));
  nanochat_embeddings_free(vector);
  return NANOCHAT_OK;
}

static nanochat_status show_fused(const nanochat_registry *fleet, const char *text, nanochat_error **error) {
  nanochat_embeddings *fused = NULL;
  nanochat_routing_info routing = {0};
  double time = 0;
  nanochat_status status = nanochat_time_parse("2026-01-03T12:00:00Z", NANOCHAT_NUL_TERMINATED, &time, error);
  const float *values;

  if (status == NANOCHAT_OK)
    status = nanochat_registry_fuse_text(fleet, NULL, &text, NULL, &time, NULL, 1, NULL, &fused, error);
  if (status != NANOCHAT_OK) return status;
  routing.struct_size = sizeof routing;
  status = nanochat_embeddings_routing(fused, 0, &routing, error);
  values = nanochat_embeddings_values(fused, 0);
  if (status == NANOCHAT_OK)
    printf("fused: %llu values, %.4f %.4f %.4f ...; expert %d first, with %.0f %% of the weight\n",
           (unsigned long long)nanochat_embeddings_width(fused), values[0], values[1], values[2],
           (int)routing.selected[0], 100 * routing.selected_weights[0]);
  nanochat_embeddings_free(fused);
  return status;
}

int main(int argc, char **argv) {
  const char *sentence = argc > 2 ? argv[2] : "The quick brown fox jumps over the lazy dog";
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_registry *fleet = NULL;
  nanochat_status status;
  size_t i;

  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: %s FOLDER [SENTENCE]\n", argv[0]);
    return 1;
  }
  status = nanochat_runtime_create(NULL, &runtime, &error);
  if (status == NANOCHAT_OK) status = open_fleet(runtime, argv[1], &fleet, &error);
  if (status == NANOCHAT_OK) status = show_health(fleet, &error);
  for (i = 0; status == NANOCHAT_OK && i < nanochat_registry_count(fleet); ++i)
    status = show_vector(fleet, i, sentence, &error);
  if (status == NANOCHAT_OK) status = show_fused(fleet, sentence, &error);
  /* Requests that run are finished first; 0: wait for at most 30 seconds. */
  if (status == NANOCHAT_OK) status = nanochat_registry_shutdown(fleet, 0, &error);
  if (status != NANOCHAT_OK) {
    fprintf(stderr, "%s (%s)\n", nanochat_error_message(error), nanochat_status_code_string(status));
    fprintf(stderr, "hint: %s\n", nanochat_error_hint(error));
  }
  nanochat_error_free(error);
  nanochat_registry_free(fleet);
  nanochat_runtime_free(runtime);
  return nanochat_status_exit_code(status); /* 0, 1, or 101 to 110 */
}
