/* FuseMoE: rows to fused vectors, and where they went. */
#include <math.h>

#include "check.h"
#include "tensor_file.h"

#define SMALL NANOCHAT_TEST_DATA "/models/fuse_moe_small"

static nanochat_runtime *runtime;

static nanochat_fusion *load(const char *path) {
  nanochat_error *error = NULL;
  nanochat_fusion *fusion = NULL;
  CHECK_OK(nanochat_fusion_load(runtime, path, NULL, &fusion, &error));
  if (fusion == NULL) exit(1);
  return fusion;
}

static void test_rows_are_fused_and_routed_as_by_pytorch(void) {
  nanochat_error *error = NULL;
  nanochat_fusion *fusion = load(SMALL);
  nanochat_fusion_info info = {0};
  nanochat_model_plan_info plan = {0};
  nanochat_routing_info routing = {0};
  nanochat_embeddings *fused = NULL;
  info.struct_size = sizeof info;
  plan.struct_size = sizeof plan;
  routing.struct_size = sizeof routing;
  CHECK_OK(nanochat_fusion_describe(fusion, &info, &error));
  CHECK_OK(nanochat_fusion_plan(runtime, SMALL, NULL, &plan, &error));
  CHECK(info.n_experts == 5 && info.n_selected == 3 && info.input_width == 83 && info.output_width == 37);
  CHECK(info.weight_bytes == plan.weight_bytes && info.parameters == plan.parameters);
  struct tensor rows = read_tensor(SMALL "/expected.safetensors", "inputs");
  struct tensor expected = read_tensor(SMALL "/expected.safetensors", "outputs");
  struct tensor weights = read_tensor(SMALL "/expected.safetensors", "weights");
  struct tensor selected = read_tensor(SMALL "/expected.safetensors", "selected");
  CHECK_OK(nanochat_fuse(fusion, rows.data, 17, 83, NULL, &fused, &error));
  CHECK(nanochat_embeddings_count(fused) == 17 && nanochat_embeddings_width(fused) == 37);
  for (size_t i = 0; i < 17; ++i) {
    double sum = 0;
    for (size_t j = 0; j < 37; ++j)
      CHECK(fabsf(nanochat_embeddings_values(fused, i)[j] - ((float *)expected.data)[i * 37 + j]) < 1e-4f);
    CHECK_OK(nanochat_embeddings_routing(fused, i, &routing, &error));
    CHECK(routing.n_experts == 5 && routing.n_selected == 3 && routing.is_fallback == 0);
    for (size_t j = 0; j < 5; ++j) CHECK(fabsf(routing.weights[j] - ((float *)weights.data)[i * 5 + j]) < 1e-5f);
    for (size_t j = 0; j < 3; ++j) {
      CHECK(routing.selected[j] == ((int64_t *)selected.data)[i * 3 + j]);
      sum += (double)routing.selected_weights[j];
    }
    CHECK(fabs(sum - 1) < 1e-6);
  }
  CHECK_SAYS(nanochat_embeddings_routing(fused, 17, &routing, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "17", "");
  nanochat_embeddings_free(fused);

  nanochat_utilisation_info utilisation = {0};
  uint64_t chosen[5];
  double loads[5], all = 0;
  uint64_t n = 0;
  utilisation.struct_size = sizeof utilisation;
  CHECK_OK(nanochat_fusion_utilisation(fusion, &utilisation, chosen, loads, 5, &error));
  CHECK(utilisation.n_rows == 17 && utilisation.n_experts == 5 && utilisation.overloaded_expert == -1);
  for (size_t i = 0; i < 5; ++i) {
    n += chosen[i];
    all += loads[i];
  }
  CHECK(n == 17 * 3 && fabs(all - 1) < 1e-6);
  CHECK_SAYS(nanochat_fusion_utilisation(fusion, &utilisation, chosen, NULL, 4, &error),
             NANOCHAT_STATUS_BUFFER_TOO_SMALL, "4", "5");
  CHECK_OK(nanochat_fusion_reset_utilisation(fusion, &error));
  CHECK_OK(nanochat_fusion_utilisation(fusion, &utilisation, NULL, NULL, 0, &error));
  CHECK(utilisation.n_rows == 0);
  free(rows.data);
  free(expected.data);
  free(weights.data);
  free(selected.data);
  nanochat_fusion_free(fusion);
}

static void test_bad_rows_are_refused(void) {
  nanochat_error *error = NULL;
  nanochat_fusion *fusion = load(SMALL);
  nanochat_embeddings *fused = NULL;
  float rows[2 * 83] = {0};
  CHECK_SAYS(nanochat_fuse(fusion, rows, 2, 82, NULL, &fused, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "82", "83");
  CHECK_STATUS(nanochat_fuse(fusion, rows, 0, 83, NULL, &fused, &error), NANOCHAT_STATUS_INVALID_ARGUMENT);
  CHECK_SAYS(nanochat_fuse(fusion, NULL, 1, 83, NULL, &fused, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "rows", "NULL");
  rows[83 + 4] = NAN;
  CHECK_SAYS(nanochat_fuse(fusion, rows, 2, 83, NULL, &fused, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "1", "4");
  nanochat_cancel *cancel = NULL;
  CHECK_OK(nanochat_cancel_create(&cancel, &error));
  nanochat_cancel_request(cancel);
  CHECK_STATUS(nanochat_fuse(fusion, rows, 1, 83, cancel, &fused, &error), NANOCHAT_STATUS_CANCELLED);
  nanochat_cancel_free(cancel);
  CHECK(fused == NULL);
  nanochat_fusion *other = NULL;
  CHECK_STATUS(nanochat_fusion_load(runtime, "there/is/none", NULL, &other, &error), NANOCHAT_STATUS_MODEL_FILE_MISSING);
  CHECK_STATUS(nanochat_fusion_create_random(runtime, "{\"num_experts\":0}", 1, NULL, &other, &error),
               NANOCHAT_STATUS_CONFIG_INVALID);
  CHECK(other == NULL);
  nanochat_fusion_free(fusion);
  nanochat_fusion_free(NULL);
}

static void test_a_saved_fusion_gives_the_same_bits(const char *folder) {
  static const char *const config =
      "{\"model_type\":\"fuse_moe\",\"num_experts\":4,\"top_k\":2,\"input_dim\":40,\"expert_hidden_dim\":24,"
      "\"output_dim\":16}";
  nanochat_error *error = NULL;
  nanochat_fusion *made = NULL;
  nanochat_embeddings *first = NULL, *second = NULL;
  float rows[3 * 40];
  char path[4096];
  for (size_t i = 0; i < 3 * 40; ++i) rows[i] = (float)(i % 13) / 13 - 0.5f;
  snprintf(path, sizeof path, "%s/fusion", folder);
  CHECK_OK(nanochat_fusion_create_random(runtime, config, 5, NULL, &made, &error));
  CHECK_OK(nanochat_fusion_save(made, path, NULL, &error));
  nanochat_fusion *again = load(path);
  CHECK_OK(nanochat_fuse(made, rows, 3, 40, NULL, &first, &error));
  CHECK_OK(nanochat_fuse(again, rows, 3, 40, NULL, &second, &error));
  for (size_t i = 0; i < 3; ++i)
    CHECK(memcmp(nanochat_embeddings_values(first, i), nanochat_embeddings_values(second, i), 16 * sizeof(float)) == 0);
  nanochat_embeddings_free(first);
  nanochat_embeddings_free(second);
  nanochat_fusion_free(made);
  nanochat_fusion_free(again);
}

static void test_embeddings_that_are_not_fused_have_no_routing(void) {
  nanochat_error *error = NULL;
  nanochat_routing_info routing = {0};
  nanochat_embeddings *times = NULL;
  const double now = 1;
  routing.struct_size = sizeof routing;
  CHECK_OK(nanochat_embed_times(0, &now, 1, 0, &times, &error));
  CHECK_SAYS(nanochat_embeddings_routing(times, 0, &routing, &error), NANOCHAT_STATUS_UNSUPPORTED, "nanochat_fuse()", "");
  nanochat_embeddings_free(times);
}

int main(int argc, char **argv) {
  runtime = make_runtime(2);
  test_rows_are_fused_and_routed_as_by_pytorch();
  test_bad_rows_are_refused();
  test_a_saved_fusion_gives_the_same_bits(argc > 1 ? argv[1] : ".");
  test_embeddings_that_are_not_fused_have_no_routing();
  nanochat_runtime_free(runtime);
  return finish_checks();
}
