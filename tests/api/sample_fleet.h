/* The sample fleet, as the C tests of warm loading use it. */
#ifndef NANOCHAT_TESTS_API_SAMPLE_FLEET_H
#define NANOCHAT_TESTS_API_SAMPLE_FLEET_H

#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define TEXT "The quick brown fox jumps over the lazy dog"
#define MOMENT 1767441600.0

static char fleet_folder[1024], manifest[1100];

/* In a folder of the test's own below the build folder. */
static inline void make_sample(const nanochat_runtime *runtime, const char *folder, const char *name) {
  nanochat_error *error = NULL;
  snprintf(fleet_folder, sizeof fleet_folder, "%.900s/%s", folder, name);
  snprintf(manifest, sizeof manifest, "%s/manifest.json", fleet_folder);
  CHECK_OK(nanochat_warm_create_sample(runtime, fleet_folder, 1, NULL, &error));
}

static inline nanochat_warm_options quiet_options(void) {
  nanochat_warm_options options = NANOCHAT_WARM_OPTIONS_INIT;
  options.diagnostic_dump_path = "";
  return options;
}

static inline nanochat_registry *open_sample(const nanochat_runtime *runtime) {
  nanochat_warm_options options = quiet_options();
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_registry_open(runtime, manifest, &options, &registry, &error));
  if (registry == NULL) exit(1);
  return registry;
}

static inline nanochat_registry *warm_sample(const nanochat_runtime *runtime) {
  nanochat_warm_options options = quiet_options();
  nanochat_registry *registry = NULL;
  nanochat_error *error = NULL;
  CHECK_OK(nanochat_warm_load(runtime, manifest, &options, &registry, &error));
  if (registry == NULL) exit(1);
  return registry;
}

static inline int32_t overall_health(const nanochat_registry *registry, int32_t full) {
  nanochat_health_report *report = NULL;
  nanochat_error *error = NULL;
  int32_t overall;
  CHECK_OK(nanochat_health_check(registry, full, NULL, &report, &error));
  overall = nanochat_health_report_overall(report);
  nanochat_health_report_free(report);
  return overall;
}

static inline nanochat_component_info describe(const nanochat_registry *registry, const char *id) {
  nanochat_component_info info = {0};
  nanochat_error *error = NULL;
  size_t index = 0;
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_registry_find(registry, id, &index, &error));
  CHECK_OK(nanochat_registry_describe(registry, index, &info, &error));
  return info;
}

static inline int contains(const nanochat_text *text, const char *word) {
  return strstr(nanochat_text_data(text), word) != NULL;
}

#endif
