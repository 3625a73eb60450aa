/* How alike are two sentences? An encoder (a directory of sentence-transformers, say) turns each into a vector; the cosine of
 * the two tells.
 *
 *   embed MODEL_DIRECTORY "a first sentence" "a second one" */
#include <nanochat.h>
#include <stdio.h>

int main(int argc, char **argv) {
  nanochat_error *error = NULL;
  nanochat_runtime *runtime = NULL;
  nanochat_model *model = NULL;
  nanochat_tokenizer *tokenizer = NULL;
  nanochat_embeddings *vectors = NULL;
  nanochat_model_info info = {0};
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  double similarity = 0;
  int failed = 1;

  if (argc != 4) {
    fprintf(stderr, "usage: %s MODEL_DIRECTORY SENTENCE SENTENCE\n", argv[0]);
    return 1;
  }
  if (nanochat_runtime_create(NULL, &runtime, &error) != NANOCHAT_OK) goto end;
  if (nanochat_model_load(runtime, argv[1], NULL, &model, &error) != NANOCHAT_OK) goto end;
  if (nanochat_tokenizer_load(runtime, argv[1], NULL, &tokenizer, &error) != NANOCHAT_OK) goto end;

  /* Any model gives vectors; one that was made for it is an encoder. */
  info.struct_size = sizeof info;
  if (nanochat_model_describe(model, &info, &error) != NANOCHAT_OK) goto end;
  printf("%s, %lld values a vector, texts of up to %lld tokens\n",
         info.kind == NANOCHAT_MODEL_ENCODER ? "encoder" : "decoder", (long long)info.embedding_width,
         (long long)info.max_tokens);

  /* Both sentences in one call. Longer ones lose their end here; without truncate they would be refused. */
  options.truncate = 1;
  if (nanochat_embed_text(model, tokenizer, (const char *const *)(argv + 2), NULL, 2, &options, &vectors, &error) !=
      NANOCHAT_OK)
    goto end;
  if (nanochat_similarity_cosine(nanochat_embeddings_values(vectors, 0), nanochat_embeddings_width(vectors),
                                 nanochat_embeddings_values(vectors, 1), nanochat_embeddings_width(vectors),
                                 &similarity, &error) != NANOCHAT_OK)
    goto end;
  printf("tokens %lld and %lld, cosine %.4f\n", (long long)nanochat_embeddings_tokens(vectors, 0),
         (long long)nanochat_embeddings_tokens(vectors, 1), similarity);
  failed = 0;

end:
  if (failed) {
    fprintf(stderr, "%s\n", nanochat_error_message(error));
    if (nanochat_error_cause(error) != NULL)
      fprintf(stderr, "because %s\n", nanochat_error_message(nanochat_error_cause(error)));
  }
  nanochat_error_free(error);
  nanochat_embeddings_free(vectors);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
  return failed;
}
