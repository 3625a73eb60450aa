/* Tells several stories at once, and shows each token as it comes.
 *
 *   batch MODEL_DIR PROMPT...
 *
 * Each event is a line: the number of the prompt, then the text. */
#include <nanochat.h>
#include <stdio.h>
#include <stdlib.h>

static nanochat_status submit_all(const nanochat_scheduler *scheduler, int n_prompts, char **prompts,
                                  nanochat_request **requests, nanochat_error **error) {
  nanochat_generation_options generation = NANOCHAT_GENERATION_OPTIONS_INIT;
  nanochat_request_options options = NANOCHAT_REQUEST_OPTIONS_INIT;
  int i;
  generation.max_tokens = 60;
  for (i = 0; i < n_prompts; ++i) {
    nanochat_status status;
    options.tag = (uint64_t)i + 1;
    status = nanochat_scheduler_submit_text(scheduler, prompts[i], NANOCHAT_NUL_TERMINATED, &generation,
                                            &options, &requests[i], error);
    if (status != NANOCHAT_OK) return status;
  }
  return NANOCHAT_OK;
}

/* Whatever comes first, until there is nothing more to do. This call also does the work. */
static nanochat_status show_events(const nanochat_scheduler *scheduler, nanochat_error **error) {
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  nanochat_request *request = NULL;
  while (1) {
    nanochat_status status = nanochat_scheduler_next(scheduler, 0, &request, &event, error);
    if (status != NANOCHAT_OK || request == NULL) return status;
    printf("%llu: %s\n", (unsigned long long)nanochat_request_tag(request), event.text);
    if (event.finish == NANOCHAT_FINISH_ERROR) { /* this one alone */
      nanochat_error *reason = NULL;
      nanochat_request_result(request, &reason);
      fprintf(stderr, "%s\n", nanochat_error_message(reason));
      nanochat_error_free(reason);
    }
  }
}

int main(int argc, char **argv) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_scheduler *scheduler = NULL;
  nanochat_request **requests = NULL;
  int i;
  nanochat_scheduler_info info = {sizeof info, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  nanochat_status status;

  if (argc < 3) {
    fprintf(stderr, "usage: batch MODEL_DIR PROMPT...\n");
    return 1;
  }
  requests = calloc((size_t)argc, sizeof *requests);
  if (requests == NULL) return 1;
  status = nanochat_runtime_create(NULL, &runtime, &error);
  if (status == NANOCHAT_OK) status = nanochat_model_load(runtime, argv[1], NULL, &model, &error);
  if (status == NANOCHAT_OK) status = nanochat_tokenizer_load(runtime, argv[1], NULL, &tokenizer, &error);
  if (status == NANOCHAT_OK) status = nanochat_scheduler_create(model, tokenizer, NULL, &scheduler, &error);
  if (status == NANOCHAT_OK) status = submit_all(scheduler, argc - 2, argv + 2, requests, &error);
  if (status == NANOCHAT_OK) status = show_events(scheduler, &error);
  if (status == NANOCHAT_OK) status = nanochat_scheduler_describe(scheduler, &info, &error);
  if (status == NANOCHAT_OK) {
    fprintf(stderr, "%lld tokens of %lld requests in %lld passes\n", (long long)info.decoded_tokens,
            (long long)info.finished_requests, (long long)info.passes);
  } else {
    fprintf(stderr, "%s\n", nanochat_error_message(error));
    nanochat_error_free(error);
  }
  for (i = 0; i < argc - 2; ++i) nanochat_request_free(requests[i]);
  free(requests);
  nanochat_scheduler_free(scheduler);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return nanochat_status_exit_code(status);
}
