/* Says what a model will take before it is loaded, loads it, and compares: the two are equal to the byte. */
#include <nanochat.h>
#include <stdio.h>

int main(int argc, char **argv) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_session *session = NULL;
  nanochat_model_plan_info plan = {sizeof plan, 0, 0, 0, 0, 0, 0, 0};
  nanochat_memory_info empty = {sizeof empty, 0, 0, 0, 0, 0, 0, 0, 0};
  nanochat_memory_info loaded = {sizeof loaded, 0, 0, 0, 0, 0, 0, 0, 0};
  nanochat_memory_info working = {sizeof working, 0, 0, 0, 0, 0, 0, 0, 0};
  unsigned long long session_bytes, planned_session_bytes;
  nanochat_status status;
  int exit_code = 1;

  if (argc < 2) {
    fprintf(stderr, "usage: estimate_memory MODEL_DIR\n");
    return 1;
  }
  status = nanochat_runtime_create(NULL, &runtime, &error);
  if (status == NANOCHAT_OK) status = nanochat_model_plan(runtime, argv[1], NULL, &plan, &error);
  if (status == NANOCHAT_OK) status = nanochat_runtime_memory(runtime, &empty, &error);
  if (status == NANOCHAT_OK) status = nanochat_model_load(runtime, argv[1], NULL, &model, &error);
  if (status == NANOCHAT_OK) status = nanochat_runtime_memory(runtime, &loaded, &error);
  if (status == NANOCHAT_OK) status = nanochat_session_create(model, NULL, &session, &error);
  if (status == NANOCHAT_OK) status = nanochat_runtime_memory(runtime, &working, &error);
  if (status != NANOCHAT_OK) {
    fprintf(stderr, "%s\n", nanochat_error_message(error));
  } else {
    const unsigned long long weight_bytes = loaded.model_bytes - empty.model_bytes;
    session_bytes = working.working_bytes - loaded.working_bytes;
    planned_session_bytes =
        (unsigned long long)nanochat_session_capacity(session) * (unsigned long long)plan.kv_bytes_per_token;
    printf("parameters        %llu\n", (unsigned long long)plan.parameters);
    printf("weights, planned  %llu bytes\n", (unsigned long long)plan.weight_bytes);
    printf("weights, taken    %llu bytes\n", weight_bytes);
    printf("session, planned  %llu bytes\n", planned_session_bytes);
    printf("session, taken    %llu bytes\n", session_bytes);
    exit_code = weight_bytes == plan.weight_bytes && session_bytes >= planned_session_bytes ? 0 : 1;
    printf("%s\n", exit_code == 0 ? "as planned" : "not as planned");
  }
  nanochat_error_free(error);
  nanochat_session_free(session);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return exit_code;
}
