/* dlopen_program LIBRARY MODEL_DIR */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <nanochat.h>
#include <stdio.h>
#include <string.h>

typedef const char *(*version_function)(void);
typedef nanochat_status (*create_function)(const nanochat_runtime_options *, nanochat_runtime **, nanochat_error **);
typedef nanochat_status (*load_function)(const nanochat_runtime *, const char *, const nanochat_model_options *,
                                         nanochat_model **, nanochat_error **);
typedef void (*free_runtime_function)(nanochat_runtime *);
typedef void (*free_model_function)(nanochat_model *);

/* A function pointer cannot be cast from void * in C99, but its bytes can be copied. */
static void look_up(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  memcpy(function, &symbol, sizeof symbol);
}

static int use_once(const char *path, const char *directory) {
  version_function version = NULL;
  create_function create = NULL;
  load_function load = NULL;
  free_runtime_function free_runtime = NULL;
  free_model_function free_model = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  int done;
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 0;
  }
  look_up(library, "nanochat_version_string", &version);
  look_up(library, "nanochat_runtime_create", &create);
  look_up(library, "nanochat_model_load", &load);
  look_up(library, "nanochat_runtime_free", &free_runtime);
  look_up(library, "nanochat_model_free", &free_model);
  if (version == NULL || create == NULL || load == NULL || free_runtime == NULL || free_model == NULL) return 0;
  done = strcmp(version(), NANOCHAT_VERSION_STRING) == 0 && create(NULL, &runtime, NULL) == NANOCHAT_OK &&
         load(runtime, directory, NULL, &model, NULL) == NANOCHAT_OK;
  free_runtime(runtime);
  free_model(model);
  return dlclose(library) == 0 && done;
}

int main(int argc, char **argv) {
  int i;
  if (argc < 3) return 2;
  for (i = 0; i < 3; ++i) {
    if (!use_once(argv[1], argv[2])) {
      fprintf(stderr, "round %d failed\n", i);
      return 1;
    }
  }
  return 0;
}
