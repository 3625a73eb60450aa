// Texts, token lists and images to vectors.
#include <algorithm>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/model_kind.h"
#include "infer/embed.h"
#include "infer/embed_encoder.h"
#include "infer/embed_text.h"

using namespace nanochat;

namespace {

constexpr size_t kEmbedOptionsSize = 48;

using TokenLists = std::vector<std::vector<int32_t>>;

nanochat_embed_options import(const nanochat_embed_options* options) {
  const auto known = import_options(options, "nanochat_embed_options", kEmbedOptionsSize);
  require_enum(known.pooling, NANOCHAT_POOLING_POOLER, "nanochat_embed_options.pooling");
  require_enum(known.normalization, NANOCHAT_NORMALIZATION_NONE, "nanochat_embed_options.normalization");
  require_enum(known.role, NANOCHAT_ROLE_DOCUMENT, "nanochat_embed_options.role");
  require_zero(known.reserved, "nanochat_embed_options.reserved");
  require_zero(known.reserved2, "nanochat_embed_options.reserved2");
  return known;
}

// Of an option that the kind of model or call has nothing for.
void refuse_option(int64_t value, const char* name, const char* what) {
  if (value == 0) return;
  throw Error(Status::unsupported).subject(name).say("{} is {}, but {}, expected 0", name, value, what);
}

EmbedOptions decoder_options(const nanochat_embed_options& known) {
  constexpr const char* kDecoder = "the model is a decoder";
  if (known.pooling > NANOCHAT_POOLING_NONE)
    refuse_option(known.pooling, "nanochat_embed_options.pooling", kDecoder);
  refuse_option(known.global_tokens, "nanochat_embed_options.global_tokens", kDecoder);
  refuse_option(known.role, "nanochat_embed_options.role", kDecoder);
  EmbedOptions options;
  if (known.pooling != NANOCHAT_POOLING_DEFAULT) options.pooling = static_cast<Pooling>(known.pooling);
  options.is_unit = known.normalization != NANOCHAT_NORMALIZATION_NONE;
  options.truncate = known.truncate != 0;
  options.max_tokens = known.max_tokens;
  return options;
}

LateInteraction import_late_interaction(const nanochat_embed_options& known, const Tokenizer* tokenizer) {
  LateInteraction late = late_interaction(tokenizer);
  if (known.query_length != 0) late.query_length = known.query_length;
  if (known.query_marker != 0) late.query_marker = known.query_marker;
  if (known.document_marker != 0) late.document_marker = known.document_marker;
  if (known.mask_token != 0) late.mask_token = known.mask_token;
  late.masks_are_seen = known.see_masks != 0;
  if (known.skipped_tokens != nullptr || known.n_skipped_tokens != 0) {
    late.skipped_tokens = import_array(known.skipped_tokens, known.n_skipped_tokens, "skipped_tokens");
    std::sort(late.skipped_tokens.begin(), late.skipped_tokens.end());
  }
  if (known.keep_punctuation != 0) late.skipped_tokens.clear();
  return late;
}

Normalization imported_normalization(const nanochat_embed_options& known) {
  constexpr Normalization kWays[] = {Normalization::as_configured, Normalization::unit, Normalization::none};
  return kWays[known.normalization];
}

EncoderEmbedOptions encoder_options(const nanochat_embed_options& known, const Tokenizer* tokenizer) {
  constexpr TextPooling kPoolings[] = {TextPooling::as_configured, TextPooling::mean, TextPooling::last,
                                       TextPooling::none,          TextPooling::cls,  TextPooling::max,
                                       TextPooling::pooler};
  EncoderEmbedOptions options;
  options.vectors.pooling = kPoolings[known.pooling];
  options.vectors.normalization = imported_normalization(known);
  options.vectors.n_global_tokens = known.global_tokens == 0 ? -1 : std::max<int64_t>(known.global_tokens, 0);
  options.max_tokens = known.max_tokens;
  options.truncate = known.truncate != 0;
  options.role = static_cast<TextRole>(known.role);
  if (options.role != TextRole::none) options.late = import_late_interaction(known, tokenizer);
  return options;
}

enum class Form { dense, sparse };

// What there is to embed, of either kind of model.
class Embedding {
 public:
  Embedding(const nanochat_model& model, const nanochat_embed_options* options, const Tokenizer* tokenizer,
            Form form)
      : model_(model), form_(form), known_(import(options)) {
    if (form == Form::sparse) {
      constexpr const char* kSparse = "sparse vectors have no such choice";
      require_encoder(model, "nanochat_embed_sparse()");
      refuse_option(known_.pooling, "nanochat_embed_options.pooling", kSparse);
      refuse_option(known_.normalization, "nanochat_embed_options.normalization", kSparse);
      refuse_option(known_.role, "nanochat_embed_options.role", kSparse);
    }
    if (model.encoder) {
      encoder_ = encoder_options(known_, tokenizer);
    } else {
      decoder_ = decoder_options(known_);
    }
  }

  const char* prefix() const { return known_.prefix == nullptr ? "" : known_.prefix; }
  bool truncates() const { return known_.truncate != 0; }
  Watch watch() const { return make_watch(known_.progress, known_.progress_user_data, known_.cancel); }

  // Of a text with all that its tokenizer puts around it.
  int64_t most_text_tokens() const {
    return model_.encoder ? nanochat::most_text_tokens(*model_.encoder, encoder_)
                          : most_tokens(*model_.model, decoder_);
  }

  nanochat_embeddings* run(const TokenLists& inputs) const {
    if (form_ == Form::sparse)
      return new nanochat_embeddings{embed_sparse(*model_.encoder, inputs, encoder_, watch())};
    if (model_.encoder) return new nanochat_embeddings{embed(*model_.encoder, inputs, encoder_, watch())};
    return new nanochat_embeddings{embed(model_.model, inputs, decoder_, watch())};
  }

 private:
  const nanochat_model& model_;
  Form form_;
  nanochat_embed_options known_;
  EncoderEmbedOptions encoder_;
  EmbedOptions decoder_;
};

TokenLists import_lists(const int32_t* const* inputs, const size_t* sizes, size_t n_inputs) {
  const auto lists = import_array(inputs, n_inputs, "inputs");
  const auto lengths = import_array(sizes, n_inputs, "input_sizes");
  TokenLists tokens;
  tokens.reserve(n_inputs);
  for (size_t i = 0; i < n_inputs; ++i) tokens.push_back(import_array(lists[i], lengths[i], "inputs"));
  return tokens;
}

nanochat_embeddings* embed_texts(const nanochat_model& model, const nanochat_tokenizer* tokenizer,
                                 const TextArray& list, const nanochat_embed_options* options, Form form) {
  const Tokenizer& encoder = *require_handle(tokenizer, "tokenizer").tokenizer;
  const Embedding embedding(model, options, &encoder, form);
  const bool truncate = embedding.truncates();
  const TextTokens how{embedding.prefix(), truncate, truncate ? embedding.most_text_tokens() : 0};
  return embedding.run(tokens_of_texts(encoder, import_texts(list), how, model.core->device->threads(),
                                       embedding.watch().cancel));
}

std::span<const float> import_values(const nanochat_image& image, size_t index) {
  const auto n = static_cast<uint64_t>(image.size) / sizeof(float);
  const auto side = [](int64_t pixels) { return pixels > 0 && pixels <= kMostPixels; };
  if (!side(image.width) || !side(image.height) || image.size % sizeof(float) != 0 ||
      static_cast<uint64_t>(3 * image.width) * static_cast<uint64_t>(image.height) != n) {
    throw Error(Status::invalid_argument)
        .subject("images")
        .say("image {} has {} bytes of normalised values, expected floats of 3 x {} x {}", index, image.size,
             image.height, image.width);
  }
  return {static_cast<const float*>(image.data), n};
}

ImageInput import_image(const nanochat_image& image, size_t index) {
  require_enum(image.format, NANOCHAT_IMAGE_NORMALIZED, "nanochat_image.format");
  if (image.channels != 0 && image.channels != 3) {
    throw Error(Status::invalid_argument)
        .subject("images")
        .say("image {} has {} channels, expected 3", index, image.channels);
  }
  require_pointer(image.data, "nanochat_image.data");
  if (image.format == NANOCHAT_IMAGE_NORMALIZED) return {{}, import_values(image, index)};
  const std::span bytes(static_cast<const uint8_t*>(image.data), image.size);
  return {{bytes, image.width, image.height, image.row_bytes}, {}};
}

void refuse_text_options(const nanochat_embed_options& known) {
  constexpr const char* kImages = "the inputs are images";
  refuse_option(known.pooling, "nanochat_embed_options.pooling", kImages);
  refuse_option(known.truncate, "nanochat_embed_options.truncate", kImages);
  refuse_option(known.prefix == nullptr ? 0 : 1, "nanochat_embed_options.prefix", kImages);
  refuse_option(known.max_tokens, "nanochat_embed_options.max_tokens", kImages);
  refuse_option(known.role, "nanochat_embed_options.role", kImages);
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
    const Embedding embedding(parent, options, nullptr, Form::dense);
    *out_embeddings = embedding.run(import_lists(inputs, input_sizes, n_inputs));
  });
}

nanochat_status nanochat_embed_text(const nanochat_model* model, const nanochat_tokenizer* tokenizer,
                                    const char* const* texts, const size_t* text_sizes, size_t n_texts,
                                    const nanochat_embed_options* options,
                                    nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_embeddings, "out_embeddings");
    *out_embeddings = embed_texts(parent, tokenizer, {texts, text_sizes, n_texts}, options, Form::dense);
  });
}

nanochat_status nanochat_embed_sparse(const nanochat_model* model, const int32_t* const* inputs,
                                      const size_t* input_sizes, size_t n_inputs,
                                      const nanochat_embed_options* options,
                                      nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_embeddings, "out_embeddings");
    const Embedding embedding(parent, options, nullptr, Form::sparse);
    *out_embeddings = embedding.run(import_lists(inputs, input_sizes, n_inputs));
  });
}

nanochat_status nanochat_embed_sparse_text(const nanochat_model* model, const nanochat_tokenizer* tokenizer,
                                           const char* const* texts, const size_t* text_sizes, size_t n_texts,
                                           const nanochat_embed_options* options,
                                           nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_embeddings, "out_embeddings");
    *out_embeddings = embed_texts(parent, tokenizer, {texts, text_sizes, n_texts}, options, Form::sparse);
  });
}

nanochat_status nanochat_embed_images(const nanochat_model* model, const nanochat_image* images,
                                      size_t n_images, const nanochat_embed_options* options,
                                      nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_embeddings, "out_embeddings");
    const Encoder& encoder = require_encoder(parent, "nanochat_embed_images()");
    const nanochat_embed_options known = import(options);
    refuse_text_options(known);
    const auto given = import_array(images, n_images, "images");
    std::vector<ImageInput> inputs;
    for (size_t i = 0; i < given.size(); ++i) inputs.push_back(import_image(given[i], i));
    const Watch watch = make_watch(known.progress, known.progress_user_data, known.cancel);
    *out_embeddings = new nanochat_embeddings{
        embed_images(encoder, inputs, parent.images, imported_normalization(known), watch)};
  });
}

}  // extern "C"
