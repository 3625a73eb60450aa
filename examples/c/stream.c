/* Streams a story: loads a model directory, prints the text token by token, and what it took.
 *
 *   stream MODEL_DIR [PROMPT [MAX_TOKENS [TEMPERATURE]]]
 *
 * Standard output gets the story; progress and figures go to standard error. */
#include <nanochat.h>
#include <stdio.h>
#include <stdlib.h>

static int32_t show_progress(const char *stage, uint64_t done, uint64_t total, void *user_data) {
  int *percent = user_data;
  const int now = total == 0 ? 100 : (int)(100.0 * (double)done / (double)total);
  if (now != *percent) fprintf(stderr, "\r%s %3d%%%s", stage, now, now == 100 ? "\n" : "");
  *percent = now;
  return 0; /* non-zero would stop the load */
}

static nanochat_status print_story(nanochat_generation *generation, nanochat_error **error) {
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  do {
    const nanochat_status status = nanochat_generation_next(generation, &event, error);
    if (status != NANOCHAT_OK) return status;
    fwrite(event.text, 1, event.text_size, stdout); /* whole characters, ready to show */
    fflush(stdout);
  } while (event.finish == NANOCHAT_FINISH_NONE);
  putchar('\n');
  fflush(stdout);
  return NANOCHAT_OK;
}

static void print_figures(const nanochat_runtime *runtime, const nanochat_generation *generation) {
  nanochat_generation_info took = {sizeof took, 0, 0, 0, 0, 0, 0};
  nanochat_memory_info memory = {sizeof memory, 0, 0, 0, 0, 0, 0, 0, 0};
  if (nanochat_generation_describe(generation, &took, NULL) != NANOCHAT_OK) return;
  if (nanochat_runtime_memory(runtime, &memory, NULL) != NANOCHAT_OK) return;
  fprintf(stderr, "%lld tokens: the first after %.1f ms", (long long)took.generated_tokens,
          took.prompt_seconds * 1e3);
  if (took.decode_seconds > 0) {
    fprintf(stderr, ", then %.0f tokens/s", (double)(took.generated_tokens - 1) / took.decode_seconds);
  }
  fprintf(stderr, "; %.1f MB of memory on %s (%s, %d threads)\n", (double)memory.high_water_bytes * 1e-6,
          nanochat_runtime_device(runtime), nanochat_runtime_isa(runtime),
          (int)nanochat_runtime_n_threads(runtime));
}

int main(int argc, char **argv) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_session *session = NULL;
  nanochat_generation *generation = NULL;
  nanochat_model_options loading = NANOCHAT_MODEL_OPTIONS_INIT;
  nanochat_generation_options drawing = NANOCHAT_GENERATION_OPTIONS_INIT;
  nanochat_status status;
  int percent = -1;
  const char *prompt = argc > 2 ? argv[2] : "";

  if (argc < 2) {
    fprintf(stderr, "usage: stream MODEL_DIR [PROMPT [MAX_TOKENS [TEMPERATURE]]]\n");
    return 1;
  }
  loading.progress = show_progress;
  loading.progress_user_data = &percent;
  drawing.max_tokens = argc > 3 ? atoll(argv[3]) : 200;
  drawing.temperature = argc > 4 ? (float)atof(argv[4]) : 0.0f; /* 0: always the likeliest token */
  drawing.seed = 42;

  status = nanochat_runtime_create(NULL, &runtime, &error);
  if (status == NANOCHAT_OK) status = nanochat_model_load(runtime, argv[1], &loading, &model, &error);
  if (status == NANOCHAT_OK) status = nanochat_tokenizer_load(runtime, argv[1], NULL, &tokenizer, &error);
  if (status == NANOCHAT_OK) status = nanochat_session_create(model, NULL, &session, &error);
  if (status == NANOCHAT_OK) {
    status = nanochat_generation_start_text(session, tokenizer, prompt, NANOCHAT_NUL_TERMINATED, &drawing,
                                            &generation, &error);
  }
  if (status == NANOCHAT_OK) status = print_story(generation, &error);
  if (status == NANOCHAT_OK) print_figures(runtime, generation);
  if (status != NANOCHAT_OK) {
    fprintf(stderr, "%s\n", nanochat_error_message(error));
    if (nanochat_error_cause(error) != NULL) {
      fprintf(stderr, "because %s\n", nanochat_error_message(nanochat_error_cause(error)));
    }
    nanochat_error_free(error);
  }

  /* Any order is fine, and so is NULL. */
  nanochat_generation_free(generation);
  nanochat_session_free(session);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return nanochat_status_exit_code(status);
}
