#include "capi/arguments.h"
#include "capi/guard.h"
#include "infer/embed.h"

using namespace nanochat;

namespace {

constexpr size_t kEmbedOptionsSize = 48;

EmbedOptions import(const nanochat_embed_options& known) {
  require_enum(known.pooling, NANOCHAT_POOLING_NONE, "nanochat_embed_options.pooling");
  require_enum(known.normalization, NANOCHAT_NORMALIZATION_NONE, "nanochat_embed_options.normalization");
  require_zero(known.reserved, "nanochat_embed_options.reserved");
  EmbedOptions options;
  if (known.pooling != NANOCHAT_POOLING_DEFAULT) options.pooling = static_cast<Pooling>(known.pooling);
  if (known.normalization == NANOCHAT_NORMALIZATION_NONE) options.normalization = Normalization::none;
  options.truncate = known.truncate != 0;
  return options;
}

nanochat_embeddings* embed_all(const nanochat_model& model, std::span<const std::vector<int32_t>> inputs,
                               const nanochat_embed_options& known) {
  const Watch watch = make_watch(known.progress, known.progress_user_data, known.cancel);
  return new nanochat_embeddings{embed(model.model, inputs, import(known), watch)};
}

bool has_input(const nanochat_embeddings* embeddings, size_t input) {
  return embeddings != nullptr && input < embeddings->embeddings.n_tokens.size();
}

}  // namespace

extern "C" {

void nanochat_embed_options_init(nanochat_embed_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_embed(const nanochat_model* model, const int32_t* const* inputs,
                               const size_t* input_sizes, size_t n_inputs,
                               const nanochat_embed_options* options, nanochat_embeddings** out_embeddings,
                               nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_embeddings, "out_embeddings");
    const auto known = import_options(options, "nanochat_embed_options", kEmbedOptionsSize);
    const auto lists = import_array(inputs, n_inputs, "inputs");
    const auto sizes = import_array(input_sizes, n_inputs, "input_sizes");
    std::vector<std::vector<int32_t>> tokens;
    for (size_t i = 0; i < n_inputs; ++i) tokens.push_back(import_array(lists[i], sizes[i], "inputs"));
    *out_embeddings = embed_all(parent, tokens, known);
  });
}

nanochat_status nanochat_embed_text(const nanochat_model* model, const nanochat_tokenizer* tokenizer,
                                    const char* const* texts, const size_t* text_sizes, size_t n_texts,
                                    const nanochat_embed_options* options,
                                    nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    const Tokenizer& encoder = *require_handle(tokenizer, "tokenizer").tokenizer;
    require_pointer(out_embeddings, "out_embeddings");
    const auto known = import_options(options, "nanochat_embed_options", kEmbedOptionsSize);
    const auto pointers = import_array(texts, n_texts, "texts");
    EncodeOptions encode;
    encode.add = AddSpecials::yes;
    std::vector<std::vector<int32_t>> tokens;
    for (size_t i = 0; i < n_texts; ++i) {
      const size_t size = text_sizes == nullptr ? NANOCHAT_NUL_TERMINATED : text_sizes[i];
      tokens.push_back(encoder.encode(import_text(pointers[i], size, "texts"), encode));
    }
    *out_embeddings = embed_all(parent, tokens, known);
  });
}

void nanochat_embeddings_free(nanochat_embeddings* embeddings) { delete embeddings; }

size_t nanochat_embeddings_count(const nanochat_embeddings* embeddings) {
  return embeddings == nullptr ? 0 : embeddings->embeddings.n_tokens.size();
}

size_t nanochat_embeddings_width(const nanochat_embeddings* embeddings) {
  return embeddings == nullptr ? 0 : static_cast<size_t>(embeddings->embeddings.width);
}

size_t nanochat_embeddings_rows(const nanochat_embeddings* embeddings, size_t input) {
  if (!has_input(embeddings, input)) return 0;
  const std::vector<int64_t>& first_row = embeddings->embeddings.first_row;
  return static_cast<size_t>(first_row[input + 1] - first_row[input]);
}

const float* nanochat_embeddings_values(const nanochat_embeddings* embeddings, size_t input) {
  if (!has_input(embeddings, input)) return nullptr;
  const Embeddings& all = embeddings->embeddings;
  return all.values.data() + all.first_row[input] * all.width;
}

int64_t nanochat_embeddings_tokens(const nanochat_embeddings* embeddings, size_t input) {
  return has_input(embeddings, input) ? embeddings->embeddings.n_tokens[input] : 0;
}

}  // extern "C"
