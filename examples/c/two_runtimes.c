/* Two runtimes side by side, each with its own threads and memory, in two threads: the same text to the letter. */
#define _POSIX_C_SOURCE 200809L
#include <nanochat.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TOKENS = 60, TEXT_CAPACITY = 4096 };

struct story {
  const char *directory;
  int32_t n_threads;
  nanochat_status status;
  size_t size;
  char text[TEXT_CAPACITY];
};

static int32_t append(const nanochat_generation_event *event, void *user_data) {
  struct story *story = user_data;
  if (event->text_size > TEXT_CAPACITY - story->size) return 1; /* stop */
  memcpy(story->text + story->size, event->text, event->text_size);
  story->size += event->text_size;
  return 0;
}

static void *tell(void *argument) {
  struct story *story = argument;
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_session *session = NULL;
  nanochat_generation *generation = NULL;
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  nanochat_generation_options drawing = NANOCHAT_GENERATION_OPTIONS_INIT;
  nanochat_status status;
  options.n_threads = story->n_threads;
  drawing.max_tokens = MAX_TOKENS;
  drawing.temperature = 0.9f;
  drawing.seed = 7;

  status = nanochat_runtime_create(&options, &runtime, &error);
  if (status == NANOCHAT_OK) status = nanochat_model_load(runtime, story->directory, NULL, &model, &error);
  if (status == NANOCHAT_OK) {
    status = nanochat_tokenizer_load(runtime, story->directory, NULL, &tokenizer, &error);
  }
  if (status == NANOCHAT_OK) status = nanochat_session_create(model, NULL, &session, &error);
  if (status == NANOCHAT_OK) {
    status = nanochat_generation_start_text(session, tokenizer, "Once upon a time", NANOCHAT_NUL_TERMINATED,
                                            &drawing, &generation, &error);
  }
  /* Children keep what they need of their parents: the handles may go in any order, and now. */
  nanochat_runtime_free(runtime);
  nanochat_model_free(model);
  nanochat_tokenizer_free(tokenizer);
  if (status == NANOCHAT_OK) status = nanochat_generation_run(generation, append, story, &error);
  if (status != NANOCHAT_OK) fprintf(stderr, "%s\n", nanochat_error_message(error));
  nanochat_error_free(error);
  nanochat_generation_free(generation);
  nanochat_session_free(session);
  story->status = status;
  return NULL;
}

int main(int argc, char **argv) {
  static struct story stories[2];
  pthread_t threads[2];
  int i;
  if (argc < 2) {
    fprintf(stderr, "usage: two_runtimes MODEL_DIR\n");
    return 1;
  }
  for (i = 0; i < 2; ++i) {
    stories[i].directory = argv[1];
    stories[i].n_threads = i + 1; /* the text does not depend on the number of threads */
    if (pthread_create(&threads[i], NULL, tell, &stories[i]) != 0) return 1;
  }
  for (i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  for (i = 0; i < 2; ++i) {
    if (stories[i].status != NANOCHAT_OK) return 1;
  }
  fwrite(stories[0].text, 1, stories[0].size, stdout);
  if (stories[0].size != stories[1].size || memcmp(stories[0].text, stories[1].text, stories[0].size) != 0) {
    printf("\nthe two texts differ\n");
    return 1;
  }
  printf("\nthe same text twice\n");
  return 0;
}
