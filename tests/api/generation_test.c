/* Generation: the known story, sampling, stopping, overflow, cancelling. */
#include "check.h"

static const char kStory[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.";

static nanochat_runtime *runtime;
static nanochat_model *model;
static nanochat_tokenizer *tokenizer;

static nanochat_session *fresh(int64_t capacity) {
  nanochat_error *error = NULL;
  nanochat_session *session = NULL;
  nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
  options.capacity = capacity;
  CHECK_OK(nanochat_session_create(model, &options, &session, &error));
  if (session == NULL) exit(1);
  return session;
}

/* Runs to the end; returns the finish reason and the text in `text`. */
static int32_t generate(const char *prompt, int64_t capacity, const nanochat_generation_options *options, char *text,
                        size_t size, int64_t *n_tokens) {
  nanochat_error *error = NULL;
  nanochat_session *session = fresh(capacity);
  nanochat_generation *generation = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  size_t used = 0;
  int64_t count = 0;
  text[0] = '\0';
  CHECK_OK(nanochat_generation_start_text(session, tokenizer, prompt, NANOCHAT_NUL_TERMINATED, options, &generation,
                                          &error));
  nanochat_session_free(session); /* the generation keeps what it needs */
  if (generation == NULL) return -1;
  do {
    const nanochat_status status = nanochat_generation_next(generation, &event, &error);
    CHECK_STATUS(status, NANOCHAT_OK);
    if (status != NANOCHAT_OK) break;
    CHECK(event.text_size == strlen(event.text));
    CHECK(used + event.text_size < size);
    memcpy(text + used, event.text, event.text_size + 1);
    used += event.text_size;
    if (event.token >= 0) CHECK(event.index == count++);
  } while (event.finish == NANOCHAT_FINISH_NONE);
  const int32_t finish = event.finish;
  CHECK_OK(nanochat_generation_next(generation, &event, &error)); /* repeats without text */
  CHECK(event.finish == finish && event.text_size == 0 && event.token == -1);
  nanochat_generation_info info = {0};
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_generation_describe(generation, &info, &error));
  CHECK(info.generated_tokens == count && info.finish == finish);
  if (n_tokens != NULL) *n_tokens = count;
  nanochat_generation_free(generation);
  return finish;
}

static void test_the_known_story(void) {
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  char text[4096];
  int64_t n = 0;
  options.max_tokens = 45;
  CHECK(generate("", 0, &options, text, sizeof text, &n) == NANOCHAT_FINISH_LENGTH);
  CHECK(n == 45);
  if (strncmp(text, kStory, 60) != 0) {
    fprintf(stderr, "story: '%s'\n", text);
    ++check_failures;
  }
}

static void test_stop_strings_are_cut_out_across_tokens(void) {
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  static const char *const stops[] = {"nowhere", "ttle girl nam"};
  char text[4096];
  options.max_tokens = 100;
  options.stop_strings = stops;
  options.n_stop_strings = 2;
  CHECK(generate("", 0, &options, text, sizeof text, NULL) == NANOCHAT_FINISH_STRING);
  CHECK(strcmp(text, "Once upon a time, there was a li") == 0);
}

static void test_stop_tokens_and_bias(void) {
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  const int32_t stop = 261;
  char text[4096];
  int64_t n = 0;
  options.stop_tokens = &stop;
  options.n_stop_tokens = 1;
  CHECK(generate("", 0, &options, text, sizeof text, &n) == NANOCHAT_FINISH_STOP);
  CHECK(n == 3);
  const int32_t forced = 438;
  const float bias = 1000.0f;
  nanochat_generation_options_init(&options, sizeof options);
  options.logit_bias_tokens = &forced;
  options.logit_bias_values = &bias;
  options.n_logit_bias = 1;
  options.max_tokens = 5;
  CHECK(generate("", 0, &options, text, sizeof text, &n) == NANOCHAT_FINISH_LENGTH);
  CHECK(strncmp(text, "LLLL", 4) == 0 || strlen(text) == 5);
}

static void test_seed_and_stream_decide_the_text(void) {
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  char texts[4][4096];
  options.max_tokens = 40;
  options.temperature = 1.0f;
  options.top_k = 50;
  options.seed = 7;
  generate("Once", 0, &options, texts[0], sizeof texts[0], NULL);
  generate("Once", 0, &options, texts[1], sizeof texts[1], NULL);
  options.stream = 1;
  generate("Once", 0, &options, texts[2], sizeof texts[2], NULL);
  options.stream = 0;
  options.seed = 8;
  generate("Once", 0, &options, texts[3], sizeof texts[3], NULL);
  CHECK(strcmp(texts[0], texts[1]) == 0);
  CHECK(strcmp(texts[0], texts[2]) != 0);
  CHECK(strcmp(texts[0], texts[3]) != 0);
}

static void test_a_full_session_stops_or_slides(void) {
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  char text[8192];
  int64_t n = 0;
  options.ignore_end = 1;
  CHECK(generate("", 32, &options, text, sizeof text, &n) == NANOCHAT_FINISH_CONTEXT);
  CHECK(n >= 31 && n <= 32);
  options.overflow = NANOCHAT_OVERFLOW_SLIDE;
  options.max_tokens = 150;
  CHECK(generate("", 32, &options, text, sizeof text, &n) == NANOCHAT_FINISH_LENGTH);
  CHECK(n == 150);
}

static void test_logprobs_are_a_distribution(void) {
  nanochat_error *error = NULL;
  nanochat_session *session = fresh(0);
  nanochat_generation *generation = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  options.top_logprobs = 20;
  CHECK_OK(nanochat_generation_start_text(session, tokenizer, "", 0, &options, &generation, &error));
  CHECK_OK(nanochat_generation_next(generation, &event, &error));
  CHECK(event.n_top == 20 && event.top_tokens[0] == event.token);
  CHECK(event.logprob <= 0.0f && event.top_logprobs[0] == event.logprob);
  for (size_t i = 1; i < event.n_top; ++i) CHECK(event.top_logprobs[i] <= event.top_logprobs[i - 1]);
  nanochat_generation_free(generation);
  nanochat_session_free(session);
}

static void test_a_cancelled_generation_goes_on(void) {
  nanochat_error *error = NULL;
  nanochat_session *session = fresh(0);
  nanochat_generation *generation = NULL;
  nanochat_cancel *cancel = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  options.cancel = cancel;
  CHECK_OK(nanochat_generation_start_text(session, tokenizer, "Once upon", 9, &options, &generation, &error));
  nanochat_cancel_request(cancel);
  CHECK_STATUS(nanochat_generation_next(generation, &event, &error), NANOCHAT_STATUS_CANCELLED);
  nanochat_cancel_reset(cancel);
  char text[256] = "";
  for (int i = 0; i < 6; ++i) {
    CHECK_OK(nanochat_generation_next(generation, &event, &error));
    strcat(text, event.text);
    nanochat_cancel_request(cancel);
    CHECK_STATUS(nanochat_generation_next(generation, &event, &error), NANOCHAT_STATUS_CANCELLED);
    nanochat_cancel_reset(cancel);
  }
  CHECK(strncmp(text, " a time", 7) == 0);
  nanochat_generation_free(generation);
  nanochat_cancel_free(cancel);
  nanochat_session_free(session);
}

static int32_t count_events(const nanochat_generation_event *event, void *user_data) {
  int *count = user_data;
  CHECK(event->struct_size == sizeof *event);
  return ++*count == 1000 ? 1 : 0;
}

static int32_t stop_at_third(const nanochat_generation_event *event, void *user_data) {
  (void)user_data;
  return event->index == 2;
}

static void test_push_and_bad_calls(void) {
  nanochat_error *error = NULL;
  nanochat_session *session = fresh(0);
  nanochat_generation *generation = NULL;
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  int count = 0;
  options.max_tokens = 10;
  CHECK_OK(nanochat_generation_start_text(session, tokenizer, "", 0, &options, &generation, &error));
  CHECK_SAYS(nanochat_generation_run(generation, stop_at_third, NULL, &error), NANOCHAT_STATUS_CANCELLED, "callback",
             "1");
  CHECK_OK(nanochat_generation_run(generation, count_events, &count, &error));
  CHECK(count == 7 || count == 8);
  nanochat_generation_free(generation);
  generation = NULL;

  const int32_t beyond = 512;
  CHECK_SAYS(nanochat_generation_start(session, NULL, &beyond, 1, &options, &generation, &error),
             NANOCHAT_STATUS_OUT_OF_RANGE, "512", "");
#define REFUSED(field, value, word)                                                                               \
  nanochat_generation_options_init(&options, sizeof options);                                                     \
  options.field = value;                                                                                          \
  CHECK_SAYS(nanochat_generation_start_text(session, tokenizer, "a", 1, &options, &generation, &error),            \
             NANOCHAT_STATUS_INVALID_ARGUMENT, #field, word)
  REFUSED(temperature, -1.0f, "-1");
  REFUSED(top_p, 1.5f, "1.5");
  REFUSED(min_p, -0.5f, "-0.5");
  REFUSED(top_k, -2, "-2");
  REFUSED(top_logprobs, 21, "21");
  REFUSED(max_tokens, -1, "-1");
  REFUSED(overflow, 2, "2");
  REFUSED(tools, 4, "4");
  REFUSED(repetition_penalty, -1.0f, "-1");
  REFUSED(reserved, 1, "1");
  nanochat_generation_options_init(&options, sizeof options);
  options.tools = NANOCHAT_TOOL_CALCULATOR;
  CHECK_STATUS(nanochat_generation_start_text(session, tokenizer, "a", 1, &options, &generation, &error),
               NANOCHAT_STATUS_UNSUPPORTED);
  CHECK(generation == NULL);
  CHECK_OK(nanochat_generation_start_text(session, tokenizer, "x", 1, NULL, &generation, &error));
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  CHECK_OK(nanochat_generation_next(generation, &event, &error));
  CHECK_OK(nanochat_session_truncate(session, 1, &error));
  CHECK_STATUS(nanochat_generation_next(generation, &event, &error), NANOCHAT_STATUS_INVALID_STATE);
  nanochat_generation_free(generation);
  nanochat_session_free(session);
}

int main(void) {
  nanochat_error *error = NULL;
  runtime = make_runtime(2);
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error));
  test_the_known_story();
  test_stop_strings_are_cut_out_across_tokens();
  test_stop_tokens_and_bias();
  test_seed_and_stream_decide_the_text();
  test_a_full_session_stops_or_slides();
  test_logprobs_are_a_distribution();
  test_a_cancelled_generation_goes_on();
  test_push_and_bad_calls();
  nanochat_runtime_free(runtime);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  return finish_checks();
}
