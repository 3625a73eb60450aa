/* Runtime: options, devices, memory, fork, callbacks. */
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void test_bad_options_are_refused_by_name(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_runtime_options options;
#define FRESH nanochat_runtime_options_init(&options, sizeof options)
  FRESH;
  options.n_threads = -1;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "n_threads", "-1");
  FRESH;
  options.n_threads = 1000000;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "1000000", "1024");
  FRESH;
  options.device = "tpu";
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "tpu", "cpu");
  FRESH;
  options.log_level = 99;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "log_level", "99");
  FRESH;
  options.tracking_level = 6;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "tracking_level",
             "6");
  FRESH;
  options.arithmetic = 3;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "arithmetic", "3");
  FRESH;
  options.n_cpu_affinity = 3;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "cpu_affinity",
             "NULL");
  FRESH;
  options.free = (nanochat_free_callback)(void (*)(void))abort;
  CHECK_SAYS(nanochat_runtime_create(&options, &runtime, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "allocate",
             "set together");
  CHECK(runtime == NULL);
  CHECK_SAYS(nanochat_runtime_create(NULL, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_runtime", "NULL");
}

static void test_an_unknown_instruction_set_is_an_error(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  const char *before = getenv("NANOCHAT_CPU");
  char *saved = before == NULL ? NULL : strdup(before);
  setenv("NANOCHAT_CPU", "avx9000", 1);
  CHECK_SAYS(nanochat_runtime_create(NULL, &runtime, &error), NANOCHAT_STATUS_UNSUPPORTED, "avx9000", "reference");
  CHECK(runtime == NULL);
  setenv("NANOCHAT_CPU", "reference", 1);
  CHECK_OK(nanochat_runtime_create(NULL, &runtime, &error));
  CHECK(strcmp(nanochat_runtime_isa(runtime), "reference") == 0);
  nanochat_runtime_free(runtime);
  if (saved == NULL) {
    unsetenv("NANOCHAT_CPU");
  } else {
    setenv("NANOCHAT_CPU", saved, 1);
  }
  free(saved);
}

static void test_cuda_without_a_gpu_is_an_error_not_a_cpu(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  options.device = "cuda";
  const nanochat_status status = nanochat_runtime_create(&options, &runtime, &error);
  if (status == NANOCHAT_OK) { /* a machine with a GPU and the module */
    CHECK(strncmp(nanochat_runtime_device(runtime), "cuda", 4) == 0);
    nanochat_runtime_free(runtime);
    return;
  }
  CHECK(runtime == NULL);
  CHECK(strstr(nanochat_error_message(error), "CUDA initialization failed: ") != NULL);
  CHECK(strcmp(nanochat_error_field_name(error, 0), "cuda_error") == 0);
  CHECK_STATUS(status, NANOCHAT_STATUS_CUDA_INIT_FAILED);
}

static void test_devices_are_listed_the_cpu_first(void) {
  nanochat_error *error = NULL;
  nanochat_device_info info = {0};
  size_t n = 0, i, n_default = 0;
  CHECK_OK(nanochat_device_count(&n, &error));
  CHECK(n >= 1);
  for (i = 0; i < n; ++i) {
    nanochat_runtime *runtime = NULL;
    nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
    info.struct_size = sizeof info;
    CHECK_OK(nanochat_device_describe(i, &info, &error));
    CHECK(i == 0 ? strcmp(info.name, "cpu") == 0 && info.capability == 0
                 : strncmp(info.name, "cuda:", 5) == 0 && info.capability > 0);
    CHECK(info.total_bytes > 0);
    CHECK(info.available_bytes <= info.total_bytes);
    options.device = info.is_default ? NULL : info.name;
    CHECK_OK(nanochat_runtime_create(&options, &runtime, &error));
    CHECK(strcmp(nanochat_runtime_device(runtime), info.name) == 0);
    nanochat_runtime_free(runtime);
    n_default += (size_t)info.is_default;
  }
  CHECK(n_default == 1);
  CHECK_SAYS(nanochat_device_describe(n, &info, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "device", "devices 0 to");
  CHECK_SAYS(nanochat_device_count(NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "out_count", "NULL");
  info.struct_size = 8;
  CHECK_SAYS(nanochat_device_describe(0, &info, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "nanochat_device_info", "8");
}

static void test_memory_is_counted_and_bounded(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_text *text = NULL;
  nanochat_model_plan_info plan = {0};
  nanochat_memory_info memory = {0};
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  plan.struct_size = sizeof plan;
  memory.struct_size = sizeof memory;
  runtime = make_runtime(1);
  CHECK_OK(nanochat_model_plan(runtime, STORIES, NULL, &plan, &error));
  CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
  CHECK(memory.used_bytes == 0);
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
  CHECK(memory.model_bytes == plan.weight_bytes);
  CHECK(memory.used_bytes == plan.weight_bytes);
  CHECK(memory.high_water_bytes >= memory.used_bytes);
  CHECK_OK(nanochat_runtime_memory_report(runtime, &text, &error));
  CHECK(strstr(nanochat_text_data(text), "\"schema\"") != NULL);
  nanochat_text_free(text);
  nanochat_model_free(model);
  CHECK_OK(nanochat_runtime_reclaim(runtime, &error));
  CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
  CHECK(memory.used_bytes == 0);
  CHECK(memory.reclaimable_bytes == 0);
  nanochat_runtime_free(runtime);

  /* One byte too small: refused before anything is taken, with the numbers. */
  options.memory_budget_bytes = plan.weight_bytes - 1;
  CHECK_OK(nanochat_runtime_create(&options, &runtime, &error));
  model = NULL;
  char needed[32];
  char budget[32];
  snprintf(needed, sizeof needed, "%llu", (unsigned long long)plan.weight_bytes);
  snprintf(budget, sizeof budget, "%llu", (unsigned long long)options.memory_budget_bytes);
  CHECK_SAYS(nanochat_model_load(runtime, STORIES, NULL, &model, &error), NANOCHAT_STATUS_BUDGET_EXCEEDED, needed,
             budget);
  CHECK(model == NULL);
  CHECK_OK(nanochat_runtime_memory(runtime, &memory, &error));
  CHECK(memory.high_water_bytes == 0);
  nanochat_runtime_free(runtime);

  options.memory_budget_bytes = plan.weight_bytes;
  CHECK_OK(nanochat_runtime_create(&options, &runtime, &error));
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

static void test_a_forked_child_gets_an_error(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = make_runtime(2);
  nanochat_model *model = NULL;
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    nanochat_session *session = NULL;
    int wrong = nanochat_session_create(model, NULL, &session, NULL) != NANOCHAT_STATUS_FORKED;
    wrong += nanochat_runtime_reclaim(runtime, NULL) != NANOCHAT_STATUS_FORKED;
    nanochat_model_free(model); /* freeing is legal, and must not wait for threads that do not exist here */
    nanochat_runtime_free(runtime);
    _exit(wrong);
  }
  int result = -1;
  CHECK(waitpid(child, &result, 0) == child);
  CHECK(WIFEXITED(result) && WEXITSTATUS(result) == 0);
  nanochat_session *session = NULL;
  CHECK_OK(nanochat_session_create(model, NULL, &session, &error)); /* the parent goes on */
  nanochat_runtime_free(runtime); /* parents first: children keep what they need */
  nanochat_model_free(model);
  const int32_t token = 1;
  CHECK_OK(nanochat_session_eval(session, &token, 1, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  nanochat_session_free(session);
}

struct counted {
  long long live;
  long long calls;
};

static void *counting_allocate(size_t bytes, size_t alignment, void *user_data) {
  struct counted *counted = user_data;
  void *pointer = NULL;
  if (posix_memalign(&pointer, alignment, bytes) != 0) return NULL;
  __atomic_add_fetch(&counted->live, (long long)bytes, __ATOMIC_RELAXED);
  __atomic_add_fetch(&counted->calls, 1, __ATOMIC_RELAXED);
  return pointer;
}

static void counting_free(void *pointer, size_t bytes, size_t alignment, void *user_data) {
  struct counted *counted = user_data;
  (void)alignment;
  __atomic_sub_fetch(&counted->live, (long long)bytes, __ATOMIC_RELAXED);
  free(pointer);
}

static void test_the_callers_allocator_gets_every_large_buffer_back(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_session *session = NULL;
  struct counted counted = {0, 0};
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  options.allocate = counting_allocate;
  options.free = counting_free;
  options.allocator_user_data = &counted;
  CHECK_OK(nanochat_runtime_create(&options, &runtime, &error));
  CHECK_OK(nanochat_model_load(runtime, STORIES, NULL, &model, &error));
  CHECK(counted.live >= 1000000);
  CHECK_OK(nanochat_session_create(model, NULL, &session, &error));
  const int32_t tokens[] = {1, 403, 407};
  CHECK_OK(nanochat_session_eval(session, tokens, 3, NANOCHAT_LOGITS_NONE, NULL, 0, NULL, &error));
  nanochat_runtime_free(runtime);
  nanochat_model_free(model);
  nanochat_session_free(session);
  CHECK(counted.calls > 0);
  CHECK(counted.live == 0);
}

static void test_rates_are_plausible(void) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = make_runtime(0);
  nanochat_rates_info rates = {0};
  rates.struct_size = sizeof rates;
  CHECK_OK(nanochat_runtime_measure_rates(runtime, &rates, &error));
  CHECK(rates.read_bytes_per_second > 1e8 && rates.read_bytes_per_second < 1e13);
  CHECK(rates.f32_flops_per_second > 1e7 && rates.f32_flops_per_second < 1e15);
  CHECK(rates.bf16_flops_per_second > 1e7);
  CHECK(rates.int8_ops_per_second > 1e7 && rates.int8_ops_per_second < 1e15);
  nanochat_rates_info first_release = {0};
  first_release.struct_size = 32;
  CHECK_OK(nanochat_runtime_measure_rates(runtime, &first_release, &error));
  CHECK(first_release.bf16_flops_per_second > 1e7 && first_release.int8_ops_per_second == 0);
  CHECK_SAYS(nanochat_runtime_measure_rates(runtime, NULL, &error), NANOCHAT_STATUS_INVALID_ARGUMENT,
             "nanochat_rates_info", "NULL");
  nanochat_runtime_free(runtime);
}

int main(void) {
  test_bad_options_are_refused_by_name();
  test_an_unknown_instruction_set_is_an_error();
  test_cuda_without_a_gpu_is_an_error_not_a_cpu();
  test_devices_are_listed_the_cpu_first();
  test_memory_is_counted_and_bounded();
  test_a_forked_child_gets_an_error();
  test_the_callers_allocator_gets_every_large_buffer_back();
  test_rates_are_plausible();
  return finish_checks();
}
