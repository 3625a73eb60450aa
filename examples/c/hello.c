/* The smallest program: which library runs, on what, and how an error reads. */
#include <nanochat.h>
#include <stdio.h>

static void print_error(const nanochat_error *error) {
  const nanochat_error *cause = nanochat_error_cause(error);
  printf("status %s (%s)\n", nanochat_status_name(nanochat_error_status(error)),
         nanochat_status_code_string(nanochat_error_status(error)));
  printf("message %s\n", nanochat_error_message(error));
  if (cause != NULL) printf("because %s\n", nanochat_error_message(cause));
  if (nanochat_error_hint(error)[0] != '\0') printf("hint %s\n", nanochat_error_hint(error));
}

int main(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_status status;

  /* The header this was compiled with and the library it runs with have to fit. */
  if (nanochat_check_version(NANOCHAT_VERSION_NUMBER, &error) != NANOCHAT_OK) goto failed;
  printf("libnanochat %s (header %s)\n", nanochat_version_string(), NANOCHAT_VERSION_STRING);

  if (nanochat_runtime_create(NULL, &runtime, &error) != NANOCHAT_OK) goto failed;
  printf("device %s, %s, %d threads\n", nanochat_runtime_device(runtime), nanochat_runtime_isa(runtime),
         (int)nanochat_runtime_n_threads(runtime));

  /* A call that fails returns a status, fills the error and leaves its other outputs alone. */
  status = nanochat_model_load(runtime, "there/is/no/such/model", NULL, &model, &error);
  if (status == NANOCHAT_OK || model != NULL) {
    fprintf(stderr, "a model was loaded from nowhere\n");
    return 1;
  }
  print_error(error);
  nanochat_error_free(error);

  nanochat_runtime_free(runtime);
  return 0;

failed:
  fprintf(stderr, "%s\n", nanochat_error_message(error));
  nanochat_error_free(error);
  nanochat_runtime_free(runtime);
  return 1;
}
