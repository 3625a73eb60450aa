/* Counting the ids of a text without storing them. */
#include "check.h"

static const char kText[] = "Once upon a time <s> there was a caf\xc3\xa9.\n\xff\xfe and  a  cat\n";

static size_t encoded(const nanochat_tokenizer* tokenizer, const char* text, size_t size, uint32_t flags) {
  nanochat_error* error = NULL;
  static int32_t ids[4096];
  size_t n = 0;
  CHECK_OK(nanochat_tokenizer_encode(tokenizer, text, size, flags, ids, 4096, &n, &error));
  return n;
}

static void test_counts_what_encode_gives(const nanochat_tokenizer* tokenizer) {
  nanochat_error* error = NULL;
  const size_t size = sizeof kText - 1;
  for (size_t begin = 0; begin <= size; ++begin) {
    for (uint32_t flags = 0; flags < 4; ++flags) {
      size_t n = 99;
      CHECK_OK(nanochat_tokenizer_count(tokenizer, kText + begin, size - begin, flags, &n, &error));
      CHECK(n == encoded(tokenizer, kText + begin, size - begin, flags));
    }
  }
  size_t n = 99;
  CHECK_OK(nanochat_tokenizer_count(tokenizer, "Once", NANOCHAT_NUL_TERMINATED, 0, &n, &error));
  CHECK(n == encoded(tokenizer, "Once", 4, 0));
  n = 99;
  CHECK_OK(nanochat_tokenizer_count(tokenizer, NULL, 0, 0, &n, &error));
  CHECK(n == 0);
}

static void test_checks_its_arguments(const nanochat_tokenizer* tokenizer) {
  nanochat_error* error = NULL;
  size_t n = 99;
  CHECK_SAYS(nanochat_tokenizer_count(NULL, "a", 1, 0, &n, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "tokenizer", "NULL");
  CHECK_SAYS(nanochat_tokenizer_count(tokenizer, NULL, 1, 0, &n, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "text", "NULL");
  CHECK_SAYS(nanochat_tokenizer_count(tokenizer, "a", 1, 4, &n, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "flags", "4");
  CHECK_SAYS(nanochat_tokenizer_count(tokenizer, "a", 1, 0, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "out_n", "NULL");
  CHECK(n == 99);
}

static int32_t next_document(const char** text, size_t* size, void* user_data) {
  int* n_left = user_data;
  if (*n_left == 0) return 0;
  --*n_left;
  *text = kText;
  *size = sizeof kText - 1;
  return 1;
}

/* A byte-level BPE, which counts in a way of its own. */
static nanochat_tokenizer* train(nanochat_runtime* runtime) {
  nanochat_error* error = NULL;
  nanochat_tokenizer* tokenizer = NULL;
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  const char* specials[] = {"<s>"};
  options.vocab_size = 280;
  options.pattern = NANOCHAT_PATTERN_LLAMA3;
  options.special_tokens = specials;
  options.n_special_tokens = 1;
  int n_documents = 3;
  CHECK_OK(nanochat_tokenizer_train(runtime, &options, next_document, &n_documents, &tokenizer, &error));
  return tokenizer;
}

int main(void) {
  nanochat_runtime* runtime = make_runtime(1);
  nanochat_error* error = NULL;
  nanochat_tokenizer* stories = NULL;
  CHECK_OK(nanochat_tokenizer_load(runtime, STORIES, NULL, &stories, &error));
  nanochat_tokenizer* trained = train(runtime);
  test_counts_what_encode_gives(stories);
  test_counts_what_encode_gives(trained);
  test_checks_its_arguments(trained);
  nanochat_tokenizer_free(trained);
  nanochat_tokenizer_free(stories);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
