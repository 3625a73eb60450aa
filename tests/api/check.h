/* What every C test of the public interface uses. */
#ifndef NANOCHAT_TESTS_API_CHECK_H
#define NANOCHAT_TESTS_API_CHECK_H

#include <nanochat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures = 0;

#define STORIES NANOCHAT_TEST_DATA "/models/stories260K"

/* Goes on after a failure, so that one run shows them all. */
#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++check_failures;                                                     \
    }                                                                       \
  } while (0)

static void check_status_at(const char *file, int line, const char *call, nanochat_status got, nanochat_status expected,
                            nanochat_error **error) {
  if (got != expected) {
    fprintf(stderr, "%s:%d: %s gave %s, expected %s: %s\n", file, line, call, nanochat_status_name(got),
            nanochat_status_name(expected), nanochat_error_message(*error));
    ++check_failures;
  }
  if (got != NANOCHAT_OK && (*error == NULL || nanochat_error_status(*error) != got)) {
    fprintf(stderr, "%s:%d: %s: the error object does not say %s\n", file, line, call, nanochat_status_name(got));
    ++check_failures;
  }
  nanochat_error_free(*error);
  *error = NULL;
}

/* `call` must pass &error, a variable nanochat_error *error = NULL of the test. */
#define CHECK_STATUS(call, expected) check_status_at(__FILE__, __LINE__, #call, (call), (expected), &error)
#define CHECK_OK(call) CHECK_STATUS(call, NANOCHAT_OK)

/* The message of the failing call names each of the words. */
#define CHECK_SAYS(call, expected, word1, word2)                                                      \
  do {                                                                                                \
    nanochat_status check_got = (call);                                                               \
    const char *check_message = nanochat_error_message(error);                                        \
    if (strstr(check_message, word1) == NULL || strstr(check_message, word2) == NULL) {               \
      fprintf(stderr, "%s:%d: message '%s' does not name '%s' and '%s'\n", __FILE__, __LINE__, check_message, \
              word1, word2);                                                                          \
      ++check_failures;                                                                               \
    }                                                                                                 \
    check_status_at(__FILE__, __LINE__, #call, check_got, (expected), &error);                        \
  } while (0)

/* NANOCHAT_TEST_DEVICE names another device than the default. */
static inline nanochat_runtime *make_runtime(int32_t n_threads) {
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  nanochat_runtime *runtime = NULL;
  nanochat_error *error = NULL;
  options.n_threads = n_threads;
  options.device = getenv("NANOCHAT_TEST_DEVICE");
  CHECK_OK(nanochat_runtime_create(&options, &runtime, &error));
  if (runtime == NULL) exit(1);
  return runtime;
}

static inline int finish_checks(void) {
  if (check_failures != 0) fprintf(stderr, "%d checks failed\n", check_failures);
  return check_failures == 0 ? 0 : 1;
}

#endif
