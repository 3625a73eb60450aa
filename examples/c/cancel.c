/* Stops a generation from another thread, then lets it go on: a cancelled call has lost nothing. */
#define _POSIX_C_SOURCE 200809L
#include <nanochat.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

enum { FIRST_TOKENS = 5, MORE_TOKENS = 5 };

struct stopper {
  nanochat_cancel *cancel;
  sem_t enough; /* posted once the first tokens are there */
  sem_t requested;
};

static void *stop_when_enough(void *argument) {
  struct stopper *stopper = argument;
  sem_wait(&stopper->enough);
  nanochat_cancel_request(stopper->cancel); /* from any thread, or from a signal handler */
  sem_post(&stopper->requested);
  return NULL;
}

static nanochat_status print_tokens(nanochat_generation *generation, int n, nanochat_error **error) {
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  int i;
  for (i = 0; i < n && event.finish == NANOCHAT_FINISH_NONE; ++i) {
    const nanochat_status status = nanochat_generation_next(generation, &event, error);
    if (status != NANOCHAT_OK) return status;
    printf("%s", event.text);
  }
  printf("\n");
  return NANOCHAT_OK;
}

static int run(const char *directory, struct stopper *stopper, nanochat_error **error) {
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_session *session = NULL;
  nanochat_generation *generation = NULL;
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  nanochat_status status;
  options.cancel = stopper->cancel;

  status = nanochat_runtime_create(NULL, &runtime, error);
  if (status == NANOCHAT_OK) status = nanochat_model_load(runtime, directory, NULL, &model, error);
  if (status == NANOCHAT_OK) status = nanochat_tokenizer_load(runtime, directory, NULL, &tokenizer, error);
  if (status == NANOCHAT_OK) status = nanochat_session_create(model, NULL, &session, error);
  if (status == NANOCHAT_OK) {
    status = nanochat_generation_start(session, tokenizer, NULL, 0, &options, &generation, error);
  }
  if (status == NANOCHAT_OK) status = print_tokens(generation, FIRST_TOKENS, error);
  if (status == NANOCHAT_OK) {
    sem_post(&stopper->enough);
    sem_wait(&stopper->requested);
    status = print_tokens(generation, MORE_TOKENS, error);
    if (status == NANOCHAT_STATUS_CANCELLED) {
      printf("cancelled\n");
      nanochat_error_free(*error);
      *error = NULL;
      nanochat_cancel_reset(stopper->cancel);
      status = print_tokens(generation, MORE_TOKENS, error); /* goes on where it was */
    } else if (status == NANOCHAT_OK) {
      printf("the request came to nothing\n");
      status = NANOCHAT_STATUS_INTERNAL;
    }
  }
  nanochat_generation_free(generation);
  nanochat_session_free(session);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return nanochat_status_exit_code(status);
}

int main(int argc, char **argv) {
  struct stopper stopper;
  nanochat_error *error = NULL;
  pthread_t thread;
  int exit_code;
  if (argc < 2) {
    fprintf(stderr, "usage: cancel MODEL_DIR\n");
    return 1;
  }
  if (nanochat_cancel_create(&stopper.cancel, &error) != NANOCHAT_OK || sem_init(&stopper.enough, 0, 0) != 0 ||
      sem_init(&stopper.requested, 0, 0) != 0 || pthread_create(&thread, NULL, stop_when_enough, &stopper) != 0) {
    fprintf(stderr, "cannot start: %s\n", nanochat_error_message(error));
    return 1;
  }
  exit_code = run(argv[1], &stopper, &error);
  if (exit_code != 0) fprintf(stderr, "%s\n", nanochat_error_message(error));
  nanochat_error_free(error);
  sem_post(&stopper.enough); /* in case the run never came that far */
  pthread_join(thread, NULL);
  nanochat_cancel_free(stopper.cancel);
  return exit_code;
}
