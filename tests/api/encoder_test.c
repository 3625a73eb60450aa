/* Encoders as models: what they say of themselves, what they refuse, vectors of tokens and texts. */
#include <math.h>

#include "check.h"
#include "tensor_file.h"

#define BERT NANOCHAT_TEST_DATA "/models/encoder_bert_mean"
#define COLBERT NANOCHAT_TEST_DATA "/models/encoder_colbert"
#define SPLADE NANOCHAT_TEST_DATA "/models/encoder_splade"
#define CLIP NANOCHAT_TEST_DATA "/models/encoder_clip"
#define LONGFORMER NANOCHAT_TEST_DATA "/models/encoder_longformer"

static nanochat_runtime *runtime;
static nanochat_tokenizer *tokenizer; /* 101 tokens: letters, digits, punctuation */

static nanochat_model *load(const char *path, const nanochat_model_options *options) {
  nanochat_error *error = NULL;
  nanochat_model *model = NULL;
  CHECK_OK(nanochat_model_load(runtime, path, options, &model, &error));
  if (model == NULL) exit(1);
  return model;
}

static double cosine(const float *a, const float *b, size_t n) {
  nanochat_error *error = NULL;
  double similarity = -2;
  CHECK_OK(nanochat_similarity_cosine(a, n, b, n, &similarity, &error));
  return similarity;
}

/* The token lists that transformers computed the expected vectors from. */
struct inputs {
  int32_t *ids;
  const int32_t *lists[8];
  size_t sizes[8];
  size_t n;
};

static struct inputs read_inputs(const char *file) {
  struct inputs inputs;
  size_t n_ids = 0, first = 0;
  int32_t *lengths = read_ids(file, "lengths", &inputs.n);
  inputs.ids = read_ids(file, "tokens", &n_ids);
  for (size_t i = 0; i < inputs.n; ++i) {
    inputs.lists[i] = inputs.ids + first;
    inputs.sizes[i] = (size_t)lengths[i];
    first += inputs.sizes[i];
  }
  free(lengths);
  return inputs;
}

static void test_describe_says_what_the_model_is(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(BERT, NULL);
  nanochat_model_info info = {0};
  nanochat_model_plan_info plan = {0};
  nanochat_text *text = NULL;
  info.struct_size = sizeof info;
  plan.struct_size = sizeof plan;
  CHECK_OK(nanochat_model_describe(model, &info, &error));
  CHECK_OK(nanochat_model_plan(runtime, BERT, NULL, &plan, &error));
  CHECK(info.kind == NANOCHAT_MODEL_ENCODER);
  CHECK(info.pooling == NANOCHAT_POOLING_MEAN && info.is_normalized == 1);
  CHECK(info.embedding_width == 36 && info.n_embd == 36 && info.vocab_size == 101);
  CHECK(info.max_tokens == 128 && info.sequence_len == 160);
  CHECK(info.has_sparse == 0 && info.has_token_vectors == 0 && info.image_size == 0 && info.has_pooler == 0);
  CHECK(info.weight_bytes == plan.weight_bytes && info.parameters == plan.parameters);
  CHECK_OK(nanochat_model_to_json(model, &text, &error));
  CHECK(strstr(nanochat_text_data(text), "\"kind\": \"encoder\"") != NULL);
  nanochat_text_free(text);
  nanochat_model_free(model);

  static const struct {
    const char *path;
    int64_t width;
    int32_t sparse, tokens;
    int64_t image;
  } kinds[] = {{SPLADE, 131, 1, 0, 0}, {COLBERT, 16, 0, 1, 0}, {CLIP, 20, 0, 0, 24}};
  for (size_t i = 0; i < 3; ++i) {
    model = load(kinds[i].path, NULL);
    CHECK_OK(nanochat_model_describe(model, &info, &error));
    CHECK(info.embedding_width == kinds[i].width && info.has_sparse == kinds[i].sparse);
    CHECK(info.has_token_vectors == kinds[i].tokens && info.image_size == kinds[i].image);
    nanochat_model_free(model);
  }
  model = load(STORIES, NULL);
  CHECK_OK(nanochat_model_describe(model, &info, &error));
  CHECK(info.kind == NANOCHAT_MODEL_DECODER && info.embedding_width == 64);
  nanochat_model_free(model);
}

static void test_what_belongs_to_decoders_is_unsupported(const char *folder) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(BERT, NULL);
  nanochat_model *other = NULL;
  nanochat_session *session = NULL;
  nanochat_scheduler *scheduler = NULL;
  CHECK_SAYS(nanochat_session_create(model, NULL, &session, &error), NANOCHAT_STATUS_UNSUPPORTED, "encoder (bert)",
             "nanochat_session_create()");
  CHECK_SAYS(nanochat_session_load(model, "x", NULL, &session, &error), NANOCHAT_STATUS_UNSUPPORTED, "encoder",
             "nanochat_session_load()");
  CHECK_SAYS(nanochat_scheduler_create(model, NULL, NULL, &scheduler, &error), NANOCHAT_STATUS_UNSUPPORTED, "encoder",
             "nanochat_scheduler_create()");
  CHECK_SAYS(nanochat_model_quantize(model, NULL, &other, &error), NANOCHAT_STATUS_UNSUPPORTED, "encoder",
             "nanochat_model_quantize()");
  CHECK_SAYS(nanochat_model_save(model, folder, NULL, &error), NANOCHAT_STATUS_UNSUPPORTED, "encoder",
             "nanochat_model_save()");
  CHECK_SAYS(nanochat_model_export(model, NULL, folder, NULL, &error), NANOCHAT_STATUS_UNSUPPORTED, "encoder",
             "nanochat_model_export()");
  CHECK(session == NULL && scheduler == NULL && other == NULL);
  nanochat_model_free(model);

  const int32_t id = 1;
  const int32_t *lists[] = {&id};
  const size_t one = 1;
  nanochat_embeddings *embeddings = NULL;
  nanochat_image image = {&id, 4, 1, 1, 0, 0, 0};
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  nanochat_model_options loading = NANOCHAT_MODEL_OPTIONS_INIT;
  model = load(STORIES, NULL);
  CHECK_SAYS(nanochat_embed_sparse(model, lists, &one, 1, NULL, &embeddings, &error), NANOCHAT_STATUS_UNSUPPORTED,
             "decoder (llama)", "nanochat_embed_sparse()");
  CHECK_SAYS(nanochat_embed_images(model, &image, 1, NULL, &embeddings, &error), NANOCHAT_STATUS_UNSUPPORTED, "decoder",
             "nanochat_embed_images()");
  options.pooling = NANOCHAT_POOLING_CLS;
  CHECK_SAYS(nanochat_embed(model, lists, &one, 1, &options, &embeddings, &error), NANOCHAT_STATUS_UNSUPPORTED,
             "pooling is 4", "decoder");
  options.pooling = 0;
  options.role = NANOCHAT_ROLE_QUERY;
  CHECK_SAYS(nanochat_embed(model, lists, &one, 1, &options, &embeddings, &error), NANOCHAT_STATUS_UNSUPPORTED, "role",
             "decoder");
  loading.pooler = 1;
  CHECK_SAYS(nanochat_model_load(runtime, STORIES, &loading, &other, &error), NANOCHAT_STATUS_INVALID_ARGUMENT, "pooler",
             "decoder");
  loading.pooler = 0;
  loading.weights = NANOCHAT_WEIGHTS_FP8;
  CHECK_SAYS(nanochat_model_load(runtime, STORIES, &loading, &other, &error), NANOCHAT_STATUS_MODEL_LOAD_FAILED, "fp8",
             "decoder");
  CHECK(embeddings == NULL && other == NULL);
  nanochat_model_free(model);
}

static void test_vectors_are_those_of_transformers(void) {
  static const struct {
    int32_t pooling, normalization;
    const char *tensor;
  } ways[] = {{NANOCHAT_POOLING_DEFAULT, NANOCHAT_NORMALIZATION_DEFAULT, "sentence"},
              {NANOCHAT_POOLING_MEAN, NANOCHAT_NORMALIZATION_NONE, "mean"},
              {NANOCHAT_POOLING_MAX, NANOCHAT_NORMALIZATION_NONE, "max"},
              {NANOCHAT_POOLING_POOLER, NANOCHAT_NORMALIZATION_NONE, "pooler"},
              {NANOCHAT_POOLING_NONE, NANOCHAT_NORMALIZATION_NONE, "states"}};
  nanochat_error *error = NULL;
  nanochat_model_options loading = NANOCHAT_MODEL_OPTIONS_INIT;
  loading.pooler = 1;
  nanochat_model *model = load(BERT, &loading);
  struct inputs inputs = read_inputs(BERT "/expected.safetensors");
  inputs.n = 2; /* the first and the last: those in between have a second token type */
  inputs.lists[1] = inputs.lists[3];
  inputs.sizes[1] = inputs.sizes[3];
  for (size_t way = 0; way < 5; ++way) {
    nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
    nanochat_embeddings *embeddings = NULL;
    struct tensor expected = read_tensor(BERT "/expected.safetensors", ways[way].tensor);
    const size_t last = ways[way].pooling == NANOCHAT_POOLING_NONE ? 138 : 3; /* row of the last input */
    options.pooling = ways[way].pooling;
    options.normalization = ways[way].normalization;
    options.max_tokens = 160;
    CHECK_OK(nanochat_embed(model, inputs.lists, inputs.sizes, inputs.n, &options, &embeddings, &error));
    CHECK(nanochat_embeddings_count(embeddings) == 2);
    for (size_t i = 0; i < 2; ++i) {
      const float *next = (const float *)expected.data + (i == 0 ? 0 : last * 36);
      const float *values = nanochat_embeddings_values(embeddings, i);
      const size_t n = nanochat_embeddings_rows(embeddings, i) * nanochat_embeddings_width(embeddings);
      double worst = 0;
      for (size_t j = 0; j < n; ++j) {
        const double distance = fabs((double)values[j] - (double)next[j]);
        if (!(distance <= worst)) worst = distance;
      }
      if (!(worst < 2e-5)) fprintf(stderr, "%s %zu: %g\n", ways[way].tensor, i, worst);
      CHECK(worst < 2e-5);
    }
    nanochat_embeddings_free(embeddings);
    free(expected.data);
  }
  free(inputs.ids);
  nanochat_model_free(model);
}

static void test_smaller_weights_stay_close(void) {
  nanochat_error *error = NULL;
  static const int32_t weights[] = {NANOCHAT_WEIGHTS_F32, NANOCHAT_WEIGHTS_BF16, NANOCHAT_WEIGHTS_INT8,
                                    NANOCHAT_WEIGHTS_FP8};
  const char *text = "what a night it was";
  nanochat_embeddings *made[4] = {0};
  for (size_t i = 0; i < 4; ++i) {
    nanochat_model_options loading = NANOCHAT_MODEL_OPTIONS_INIT;
    nanochat_model_info info = {0};
    loading.weights = weights[i];
    info.struct_size = sizeof info;
    nanochat_model *model = load(BERT, &loading);
    CHECK_OK(nanochat_model_describe(model, &info, &error));
    CHECK(info.weights == weights[i]);
    CHECK_OK(nanochat_embed_text(model, tokenizer, &text, NULL, 1, NULL, &made[i], &error));
    CHECK(cosine(nanochat_embeddings_values(made[0], 0), nanochat_embeddings_values(made[i], 0), 36) > 0.995);
    nanochat_model_free(model);
  }
  for (size_t i = 0; i < 4; ++i) nanochat_embeddings_free(made[i]);
}

static void test_a_text_gives_the_same_bits_in_any_company(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(BERT, NULL);
  const char *texts[] = {"a", "", "a somewhat longer text, with (much) punctuation!", "b"};
  nanochat_embeddings *together = NULL;
  CHECK_OK(nanochat_embed_text(model, tokenizer, texts, NULL, 4, NULL, &together, &error));
  CHECK(nanochat_embeddings_tokens(together, 1) == 2);
  for (size_t i = 0; i < 4; ++i) {
    nanochat_embeddings *alone = NULL;
    CHECK_OK(nanochat_embed_text(model, tokenizer, texts + i, NULL, 1, NULL, &alone, &error));
    CHECK(memcmp(nanochat_embeddings_values(together, i), nanochat_embeddings_values(alone, 0), 36 * sizeof(float)) == 0);
    nanochat_embeddings_free(alone);
  }
  nanochat_embeddings_free(together);
  nanochat_model_free(model);
}

static void test_a_prefix_stands_before_each_text(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(BERT, NULL);
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  nanochat_embeddings *prefixed = NULL, *whole = NULL;
  const char *texts[] = {"cats", "dogs"};
  const char *spelt[] = {"query: cats", "query: dogs"};
  options.prefix = "query: ";
  CHECK_OK(nanochat_embed_text(model, tokenizer, texts, NULL, 2, &options, &prefixed, &error));
  CHECK_OK(nanochat_embed_text(model, tokenizer, spelt, NULL, 2, NULL, &whole, &error));
  for (size_t i = 0; i < 2; ++i)
    CHECK(memcmp(nanochat_embeddings_values(prefixed, i), nanochat_embeddings_values(whole, i), 36 * sizeof(float)) == 0);
  nanochat_embeddings_free(prefixed);
  nanochat_embeddings_free(whole);
  nanochat_model_free(model);
}

static void test_long_texts_are_refused_or_cut_before_their_last_token(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(BERT, NULL);
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  nanochat_embeddings *cut = NULL, *shorter = NULL;
  const char *text = "1 2 3 4 5 6 7 8 9";
  const char *kept = "1 2 3";
  options.max_tokens = 5;
  CHECK_SAYS(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &cut, &error),
             NANOCHAT_STATUS_CONTEXT_FULL, "11 tokens", "takes 5");
  options.truncate = 1;
  CHECK_OK(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &cut, &error));
  CHECK_OK(nanochat_embed_text(model, tokenizer, &kept, NULL, 1, &options, &shorter, &error));
  CHECK(nanochat_embeddings_tokens(cut, 0) == 5);
  CHECK(memcmp(nanochat_embeddings_values(cut, 0), nanochat_embeddings_values(shorter, 0), 36 * sizeof(float)) == 0);
  nanochat_embeddings_free(cut);
  nanochat_embeddings_free(shorter);
  cut = NULL;
  options.max_tokens = 161;
  CHECK_SAYS(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &cut, &error), NANOCHAT_STATUS_OUT_OF_RANGE,
             "161", "160");
  options.max_tokens = 0;
  options.pooling = NANOCHAT_POOLING_POOLER;
  CHECK_SAYS(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &cut, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "pooler", "loaded");
  options.pooling = NANOCHAT_POOLING_MEAN;
  options.role = NANOCHAT_ROLE_QUERY;
  CHECK_SAYS(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &cut, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "row for each token", "");
  options.role = 7;
  CHECK_SAYS(nanochat_embed_text(model, tokenizer, &text, NULL, 1, &options, &cut, &error),
             NANOCHAT_STATUS_INVALID_ARGUMENT, "role", "7");
  const int32_t ids[] = {1, 101};
  const int32_t *lists[] = {ids};
  const size_t two = 2;
  CHECK_SAYS(nanochat_embed(model, lists, &two, 1, NULL, &cut, &error), NANOCHAT_STATUS_OUT_OF_RANGE, "101", "100");
  CHECK_STATUS(nanochat_embed_sparse(model, lists, &two, 1, NULL, &cut, &error), NANOCHAT_STATUS_UNSUPPORTED);
  CHECK(cut == NULL);
  nanochat_model_free(model);
}

static void test_sparse_vectors_are_those_of_transformers(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(SPLADE, NULL);
  struct inputs inputs = read_inputs(SPLADE "/expected.safetensors");
  struct tensor expected = read_tensor(SPLADE "/expected.safetensors", "sentence");
  nanochat_embeddings *embeddings = NULL;
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  options.max_tokens = 160;
  CHECK_OK(nanochat_embed_sparse(model, inputs.lists, inputs.sizes, inputs.n, &options, &embeddings, &error));
  CHECK(nanochat_embeddings_width(embeddings) == 131 && nanochat_embeddings_values(embeddings, 0) == NULL);
  CHECK(nanochat_embeddings_rows(embeddings, 0) == 0);
  for (size_t i = 0; i < inputs.n; ++i) {
    const int32_t *tokens = NULL;
    const float *weights = NULL;
    const size_t n = nanochat_embeddings_sparse(embeddings, i, &tokens, &weights);
    float dense[131] = {0};
    for (size_t j = 0; j < n; ++j) {
      CHECK(weights[j] > 0 && (j == 0 || tokens[j] > tokens[j - 1]));
      dense[tokens[j]] = weights[j];
    }
    for (size_t j = 0; j < 131; ++j) CHECK(fabsf(dense[j] - ((float *)expected.data)[i * 131 + j]) < 2e-5f);
  }
  CHECK(nanochat_embeddings_sparse(embeddings, 99, NULL, NULL) == 0);
  nanochat_embeddings_free(embeddings);
  embeddings = NULL;
  const char *text = "spelt out";
  CHECK_OK(nanochat_embed_sparse_text(model, tokenizer, &text, NULL, 1, NULL, &embeddings, &error));
  CHECK(nanochat_embeddings_tokens(embeddings, 0) == 10);
  nanochat_embeddings_free(embeddings);
  embeddings = NULL;
  options.pooling = NANOCHAT_POOLING_MEAN;
  CHECK_SAYS(nanochat_embed_sparse(model, inputs.lists, inputs.sizes, 1, &options, &embeddings, &error),
             NANOCHAT_STATUS_UNSUPPORTED, "pooling", "sparse");
  CHECK_STATUS(nanochat_embed(model, inputs.lists, inputs.sizes, 1, NULL, &embeddings, &error),
               NANOCHAT_STATUS_UNSUPPORTED);
  CHECK(embeddings == NULL);
  free(expected.data);
  free(inputs.ids);
  nanochat_model_free(model);
}

static void test_queries_are_filled_up_and_documents_lose_punctuation(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(COLBERT, NULL);
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  nanochat_embeddings *query = NULL, *document = NULL, *whole = NULL;
  const char *texts[] = {"a b", "a, b!"};
  options.role = NANOCHAT_ROLE_QUERY;
  CHECK_OK(nanochat_embed_text(model, tokenizer, texts, NULL, 1, &options, &query, &error));
  CHECK(nanochat_embeddings_rows(query, 0) == 32 && nanochat_embeddings_width(query) == 16);
  options.role = NANOCHAT_ROLE_DOCUMENT;
  CHECK_OK(nanochat_embed_text(model, tokenizer, texts + 1, NULL, 1, &options, &document, &error));
  CHECK(nanochat_embeddings_rows(document, 0) == 5); /* [CLS] [D] a b [SEP] */
  CHECK(nanochat_embeddings_tokens(document, 0) == 7);
  options.keep_punctuation = 1;
  CHECK_OK(nanochat_embed_text(model, tokenizer, texts + 1, NULL, 1, &options, &whole, &error));
  CHECK(nanochat_embeddings_rows(whole, 0) == 7);
  const float *kept = nanochat_embeddings_values(document, 0);
  const float *all = nanochat_embeddings_values(whole, 0);
  CHECK(memcmp(kept, all, 3 * 16 * sizeof(float)) == 0);
  CHECK(memcmp(kept + 3 * 16, all + 4 * 16, 16 * sizeof(float)) == 0);
  double similarity = 0;
  CHECK_OK(nanochat_similarity_maxsim(nanochat_embeddings_values(query, 0), 32 * 16, kept, 5 * 16, 16, &similarity,
                                      &error));
  CHECK(similarity > 0 && similarity <= 32.001);
  nanochat_embeddings_free(query);
  query = NULL;
  options.role = NANOCHAT_ROLE_QUERY;
  options.query_length = 4;
  CHECK_SAYS(nanochat_embed_text(model, tokenizer, texts, NULL, 1, &options, &query, &error),
             NANOCHAT_STATUS_CONTEXT_FULL, "5 tokens", "4");
  CHECK(query == NULL);
  nanochat_embeddings_free(document);
  nanochat_embeddings_free(whole);
  nanochat_model_free(model);
}

static void test_global_tokens_are_the_callers_to_choose(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = load(LONGFORMER, NULL);
  struct inputs inputs = read_inputs(LONGFORMER "/expected.safetensors");
  const char *tensors[] = {"states_0", "states_1", "states_2"};
  const int64_t asked[] = {-1, 0, 2};
  for (size_t way = 0; way < 3; ++way) {
    nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
    nanochat_embeddings *embeddings = NULL;
    struct tensor expected = read_tensor(LONGFORMER "/expected.safetensors", tensors[way]);
    options.pooling = NANOCHAT_POOLING_NONE;
    options.normalization = NANOCHAT_NORMALIZATION_NONE;
    options.global_tokens = asked[way];
    CHECK_OK(nanochat_embed(model, inputs.lists, inputs.sizes, 1, &options, &embeddings, &error));
    const float *values = nanochat_embeddings_values(embeddings, 0);
    for (size_t i = 0; i < inputs.sizes[0] * nanochat_embeddings_width(embeddings); ++i)
      CHECK(fabsf(values[i] - ((float *)expected.data)[i]) < 5e-5f);
    nanochat_embeddings_free(embeddings);
    free(expected.data);
  }
  free(inputs.ids);
  nanochat_model_free(model);
}

static void test_random_models_have_the_shape_asked_for(void) {
  nanochat_error *error = NULL;
  nanochat_model *model = NULL;
  nanochat_model_info info = {0};
  info.struct_size = sizeof info;
  CHECK_OK(nanochat_model_create_random(runtime,
                                        "{\"model_type\":\"bert\",\"vocab_size\":50,\"hidden_size\":32,"
                                        "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":64,"
                                        "\"max_position_embeddings\":32}",
                                        1, NULL, &model, &error));
  CHECK_OK(nanochat_model_describe(model, &info, &error));
  CHECK(info.kind == NANOCHAT_MODEL_ENCODER && info.vocab_size == 50 && info.max_tokens == 32);
  nanochat_model_free(model);
}

int main(int argc, char **argv) {
  nanochat_error *error = NULL;
  runtime = make_runtime(2);
  CHECK_OK(nanochat_tokenizer_load(runtime, BERT, NULL, &tokenizer, &error));
  if (tokenizer == NULL) return 1;
  test_describe_says_what_the_model_is();
  test_what_belongs_to_decoders_is_unsupported(argc > 1 ? argv[1] : ".");
  test_vectors_are_those_of_transformers();
  test_smaller_weights_stay_close();
  test_a_text_gives_the_same_bits_in_any_company();
  test_a_prefix_stands_before_each_text();
  test_long_texts_are_refused_or_cut_before_their_last_token();
  test_sparse_vectors_are_those_of_transformers();
  test_queries_are_filled_up_and_documents_lose_punctuation();
  test_global_tokens_are_the_callers_to_choose();
  test_random_models_have_the_shape_asked_for();
  nanochat_tokenizer_free(tokenizer);
  nanochat_runtime_free(runtime);
  return finish_checks();
}
