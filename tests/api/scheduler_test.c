/* Scheduler: many requests give what each gives alone, fail alone, and may be taken from any thread. */
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { kRequests = 12, kTokens = 40, kTextSize = 4096 };

static nanochat_runtime *runtime;
static nanochat_model *model;
static nanochat_tokenizer *tokenizer;

static const char *const kPrompts[kRequests] = {"",    "Once upon", "One day", "Lily",     "Tom and",    "The dog",
                                                "A big", "She",       "He saw",  "The cat", "In the park", "Mom"};

static nanochat_generation_options options_of(size_t i) {
  nanochat_generation_options options = NANOCHAT_GENERATION_OPTIONS_INIT;
  options.max_tokens = 5 + (int64_t)(i * 7) % kTokens;
  options.temperature = i % 2 == 0 ? 0.0f : 0.9f;
  options.seed = i;
  options.top_logprobs = (int32_t)(i % 3);
  return options;
}

struct outcome {
  int32_t tokens[kTokens + 8];
  float logprobs[kTokens + 8];
  char text[kTextSize];
  size_t n;
  size_t text_size;
  int32_t finish;
};

static void add_event(struct outcome *outcome, const nanochat_generation_event *event) {
  memcpy(outcome->text + outcome->text_size, event->text, event->text_size + 1);
  outcome->text_size += event->text_size;
  outcome->finish = event->finish;
  if (event->token < 0) return;
  CHECK(event->index == (int64_t)outcome->n);
  outcome->tokens[outcome->n] = event->token;
  outcome->logprobs[outcome->n++] = event->logprob;
}

static int is_same(const struct outcome *a, const struct outcome *b) {
  return a->n == b->n && a->finish == b->finish && strcmp(a->text, b->text) == 0 &&
         memcmp(a->tokens, b->tokens, a->n * sizeof a->tokens[0]) == 0 &&
         memcmp(a->logprobs, b->logprobs, a->n * sizeof a->logprobs[0]) == 0;
}

static void run_alone(size_t i, struct outcome *outcome) {
  const nanochat_generation_options options = options_of(i);
  nanochat_error *error = NULL;
  nanochat_session *session = NULL;
  nanochat_generation *generation = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  CHECK_OK(nanochat_session_create(model, NULL, &session, &error));
  CHECK_OK(nanochat_generation_start_text(session, tokenizer, kPrompts[i], NANOCHAT_NUL_TERMINATED, &options,
                                          &generation, &error));
  memset(outcome, 0, sizeof *outcome);
  while (outcome->finish == NANOCHAT_FINISH_NONE) {
    CHECK_OK(nanochat_generation_next(generation, &event, &error));
    add_event(outcome, &event);
  }
  nanochat_generation_free(generation);
  nanochat_session_free(session);
}

static nanochat_scheduler *fresh(const nanochat_scheduler_options *options) {
  nanochat_error *error = NULL;
  nanochat_scheduler *scheduler = NULL;
  CHECK_OK(nanochat_scheduler_create(model, tokenizer, options, &scheduler, &error));
  if (scheduler == NULL) exit(1);
  return scheduler;
}

static nanochat_request *submit(const nanochat_scheduler *scheduler, size_t i) {
  const nanochat_generation_options generation = options_of(i);
  nanochat_request_options options = NANOCHAT_REQUEST_OPTIONS_INIT;
  nanochat_error *error = NULL;
  nanochat_request *request = NULL;
  options.tag = 1000 + i;
  CHECK_OK(nanochat_scheduler_submit_text(scheduler, kPrompts[i], NANOCHAT_NUL_TERMINATED, &generation, &options,
                                          &request, &error));
  if (request == NULL) exit(1);
  CHECK(nanochat_request_tag(request) == 1000 + i);
  return request;
}

static nanochat_scheduler_info describe(const nanochat_scheduler *scheduler) {
  nanochat_error *error = NULL;
  nanochat_scheduler_info info = {0};
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_scheduler_describe(scheduler, &info, &error));
  return info;
}

static void test_whichever_comes_first_gives_what_each_gives_alone(void) {
  nanochat_scheduler_options options = NANOCHAT_SCHEDULER_OPTIONS_INIT;
  nanochat_error *error = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  options.draft_tokens = 3;
  options.max_running = 5;
  nanochat_scheduler *scheduler = fresh(&options);
  static struct outcome expected[kRequests];
  static struct outcome got[kRequests];
  for (size_t i = 0; i < kRequests; ++i) run_alone(i, &expected[i]);
  for (size_t i = 0; i < kRequests; ++i) submit(scheduler, i);
  size_t n_ended = 0;
  nanochat_request *request = NULL;
  while (1) {
    CHECK_OK(nanochat_scheduler_next(scheduler, 0, &request, &event, &error));
    if (request == NULL) break;
    const size_t i = nanochat_request_tag(request) - 1000;
    add_event(&got[i], &event);
    if (event.finish == NANOCHAT_FINISH_NONE) continue;
    nanochat_request_info info = {0};
    info.struct_size = sizeof info;
    CHECK_OK(nanochat_request_describe(request, &info, &error));
    CHECK(info.tag == 1000 + i && info.status == NANOCHAT_OK && info.finish == event.finish);
    CHECK(info.generated_tokens == (int64_t)got[i].n);
    CHECK_OK(nanochat_request_result(request, &error));
    nanochat_request_free(request);
    request = NULL;
    ++n_ended;
  }
  CHECK(n_ended == kRequests);
  for (size_t i = 0; i < kRequests; ++i) CHECK(is_same(&got[i], &expected[i]));
  const nanochat_scheduler_info info = describe(scheduler);
  CHECK(info.finished_requests == kRequests && info.failed_requests == 0);
  CHECK(info.running_requests == 0 && info.waiting_requests == 0 && info.kv_promised_bytes == 0);
  CHECK(info.passes > 0 && info.rows > info.passes && info.decoded_tokens > 0);
  nanochat_scheduler_free(scheduler);
}

struct job {
  const nanochat_scheduler *scheduler;
  size_t i;
  struct outcome got;
};

static void *run_job(void *argument) {
  struct job *job = argument;
  nanochat_error *error = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  nanochat_request *request = submit(job->scheduler, job->i);
  while (job->got.finish == NANOCHAT_FINISH_NONE) {
    CHECK_OK(nanochat_request_next(request, &event, &error));
    add_event(&job->got, &event);
  }
  describe(job->scheduler);
  nanochat_request_free(request);
  return NULL;
}

static void test_each_thread_takes_its_own(void) {
  nanochat_scheduler *scheduler = fresh(NULL);
  static struct job jobs[kRequests];
  pthread_t threads[kRequests];
  for (size_t i = 0; i < kRequests; ++i) {
    jobs[i].scheduler = scheduler;
    jobs[i].i = i;
    CHECK(pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0);
  }
  for (size_t i = 0; i < kRequests; ++i) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < kRequests; ++i) {
    static struct outcome expected;
    run_alone(i, &expected);
    CHECK(is_same(&jobs[i].got, &expected));
  }
  nanochat_scheduler_free(scheduler);
}

/* Events of a request that fails: one, with its own error. */
static void check_fails_alone(nanochat_request *request, nanochat_status status) {
  nanochat_error *error = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  do {
    CHECK_OK(nanochat_request_next(request, &event, &error));
  } while (event.finish == NANOCHAT_FINISH_NONE);
  CHECK(event.finish == NANOCHAT_FINISH_ERROR && event.token == -1 && event.text_size == 0);
  CHECK_STATUS(nanochat_request_result(request, &error), status);
  CHECK_OK(nanochat_request_next(request, &event, &error));
  CHECK(event.finish == NANOCHAT_FINISH_ERROR);
}

static void test_requests_fail_alone(void) {
  nanochat_scheduler *scheduler = fresh(NULL);
  nanochat_error *error = NULL;
  nanochat_cancel *cancel = NULL;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  static struct outcome expected;
  static struct outcome got;
  run_alone(3, &expected);
  nanochat_request *other = submit(scheduler, 3);
  nanochat_request *cancelled = submit(scheduler, 1);
  nanochat_request_cancel(cancelled);
  nanochat_request *switched = NULL;
  nanochat_request *late = NULL;
  nanochat_generation_options generation = options_of(4);
  generation.cancel = cancel;
  CHECK_OK(nanochat_scheduler_submit(scheduler, NULL, 0, &generation, NULL, &switched, &error));
  nanochat_request_options options = NANOCHAT_REQUEST_OPTIONS_INIT;
  options.deadline_seconds = 1e-9;
  CHECK_OK(nanochat_scheduler_submit(scheduler, NULL, 0, NULL, &options, &late, &error));
  nanochat_cancel_request(cancel);
  check_fails_alone(cancelled, NANOCHAT_STATUS_CANCELLED);
  check_fails_alone(switched, NANOCHAT_STATUS_CANCELLED);
  check_fails_alone(late, NANOCHAT_STATUS_DEADLINE_EXCEEDED);
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  while (got.finish == NANOCHAT_FINISH_NONE) {
    CHECK_OK(nanochat_request_next(other, &event, &error));
    add_event(&got, &event);
  }
  CHECK(is_same(&got, &expected));
  CHECK(describe(scheduler).failed_requests == 3);
  nanochat_request_free(other);
  nanochat_request_free(cancelled);
  nanochat_request_free(switched);
  nanochat_request_free(late);
  nanochat_cancel_free(cancel);
  nanochat_scheduler_free(scheduler);
}

static void test_a_submit_is_refused_with_the_numbers(void) {
  nanochat_scheduler_options options = NANOCHAT_SCHEDULER_OPTIONS_INIT;
  nanochat_generation_options generation = NANOCHAT_GENERATION_OPTIONS_INIT;
  nanochat_request_options wanted = NANOCHAT_REQUEST_OPTIONS_INIT;
  nanochat_error *error = NULL;
  nanochat_request *request = NULL;
  const int32_t bad[] = {1, 512};
  options.kv_budget_bytes = 200000;
  options.max_running = 1;
  options.max_waiting = 1;
  nanochat_scheduler *scheduler = fresh(&options);
  CHECK_SAYS(nanochat_scheduler_submit(scheduler, NULL, 0, NULL, NULL, &request, &error),
             NANOCHAT_STATUS_BUDGET_EXCEEDED, "512 positions", "200000");
  CHECK_SAYS(nanochat_scheduler_submit(scheduler, bad, 2, NULL, NULL, &request, &error), NANOCHAT_STATUS_OUT_OF_RANGE,
             "prompt 1", "512");
  wanted.capacity = -1;
  CHECK_SAYS(nanochat_scheduler_submit(scheduler, NULL, 0, NULL, &wanted, &request, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "capacity", "-1");
  wanted.capacity = 0;
  wanted.deadline_seconds = NAN;
  CHECK_STATUS(nanochat_scheduler_submit(scheduler, NULL, 0, NULL, &wanted, &request, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK(request == NULL);
  generation.max_tokens = 3;
  nanochat_request *first = NULL;
  nanochat_request *second = NULL;
  CHECK_OK(nanochat_scheduler_submit(scheduler, NULL, 0, &generation, NULL, &first, &error));
  CHECK_OK(nanochat_scheduler_submit(scheduler, NULL, 0, &generation, NULL, &second, &error));
  CHECK_SAYS(nanochat_scheduler_submit(scheduler, NULL, 0, &generation, NULL, &request, &error),
             NANOCHAT_STATUS_QUEUE_FULL, "2 wait", "limits are 1 and 1");
  CHECK(request == NULL);
  nanochat_scheduler_free(scheduler); /* requests keep what they need, and any order is fine */
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  CHECK_OK(nanochat_request_next(first, &event, &error));
  CHECK(event.token == 403);
  nanochat_request_free(first);
  CHECK_OK(nanochat_request_next(second, &event, &error));
  CHECK(event.token == 403);
  nanochat_request_free(second);
}

static void test_bad_calls(void) {
  nanochat_error *error = NULL;
  nanochat_scheduler *scheduler = NULL;
  nanochat_request *request = NULL;
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  nanochat_scheduler_options options = NANOCHAT_SCHEDULER_OPTIONS_INIT;
  CHECK_STATUS(nanochat_scheduler_create(NULL, NULL, NULL, &scheduler, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_scheduler_create(model, NULL, NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  options.draft_tokens = 65;
  CHECK_SAYS(nanochat_scheduler_create(model, NULL, &options, &scheduler, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "draft_tokens", "65");
  nanochat_scheduler_options_init(&options, sizeof options);
  options.max_running = -1;
  CHECK_STATUS(nanochat_scheduler_create(model, NULL, &options, &scheduler, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  nanochat_scheduler_options_init(&options, 8);
  CHECK_STATUS(nanochat_scheduler_create(model, NULL, &options, &scheduler, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK(scheduler == NULL);
  CHECK_OK(nanochat_scheduler_create(model, NULL, NULL, &scheduler, &error));
  CHECK_SAYS(nanochat_scheduler_submit_text(scheduler, "a", 1, NULL, NULL, &request, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "tokenizer", "");
  CHECK_STATUS(nanochat_scheduler_submit(scheduler, NULL, 3, NULL, NULL, &request, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_scheduler_submit(NULL, NULL, 0, NULL, NULL, &request, &error),
               NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_scheduler_next(scheduler, NAN, &request, &event, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_scheduler_next(scheduler, 0, NULL, &event, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_request_next(NULL, &event, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_request_result(NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_STATUS(nanochat_scheduler_describe(scheduler, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_OK(nanochat_scheduler_next(scheduler, 0.001, &request, &event, &error));
  CHECK(request == NULL);
  nanochat_request_cancel(NULL);
  CHECK(nanochat_request_tag(NULL) == 0);
  nanochat_request_free(NULL);
  nanochat_scheduler_free(NULL);
  nanochat_scheduler_free(scheduler);
}

static void test_a_forked_child_gets_an_error_and_may_free(void) {
  nanochat_scheduler *scheduler = fresh(NULL);
  nanochat_request *request = submit(scheduler, 0);
  const pid_t child = fork();
  if (child == 0) {
    nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
    const int refused = nanochat_request_next(request, &event, NULL) == NANOCHAT_STATUS_FORKED &&
                        nanochat_scheduler_submit(scheduler, NULL, 0, NULL, NULL, &request, NULL) ==
                            NANOCHAT_STATUS_FORKED;
    nanochat_request_cancel(request);
    nanochat_request_free(request);
    nanochat_scheduler_free(scheduler);
    _exit(refused ? 0 : 1);
  }
  int status = 1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  nanochat_request_free(request);
  nanochat_scheduler_free(scheduler);
}

int main(void) {
  nanochat_error *error = NULL;
  runtime = make_runtime(2);
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &tokenizer, &error));
  if (model == NULL || tokenizer == NULL) return 1;
  test_whichever_comes_first_gives_what_each_gives_alone();
  test_each_thread_takes_its_own();
  test_requests_fail_alone();
  test_a_submit_is_refused_with_the_numbers();
  test_bad_calls();
  test_a_forked_child_gets_an_error_and_may_free();
  nanochat_model_free(model);
  nanochat_tokenizer_free(tokenizer);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
