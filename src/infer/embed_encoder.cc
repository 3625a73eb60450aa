#include "infer/embed_encoder.h"

#include <algorithm>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr int64_t kGroupRows = 8192;  // tokens between two looks at the progress callback
constexpr size_t kGroupImages = 16;

const TowerConfig& text_tower(const Encoder& encoder) {
  if (encoder.config().text) return *encoder.config().text;
  throw Error(Status::unsupported)
      .subject("model")
      .say("the model is an encoder of images ({}), texts cannot be embedded", encoder.config().architecture);
}

bool gives_token_rows(const Encoder& encoder, const EncoderEmbedOptions& options) {
  const TextPooling asked = options.vectors.pooling;
  return (asked == TextPooling::as_configured ? encoder.config().pooling : asked) == TextPooling::none;
}

void check_role(const Encoder& encoder, const EncoderEmbedOptions& options) {
  if (options.role == TextRole::none || gives_token_rows(encoder, options)) return;
  throw Error(Status::invalid_argument)
      .subject("role")
      .say("a query or document of late interaction has a row for each token, but one vector is asked for")
      .hint("ask for pooling none");
}

// Inputs as the encoder takes them. The lists of a late interaction are made here.
class PreparedTexts {
 public:
  PreparedTexts(const Encoder& encoder, std::span<const std::vector<int32_t>> inputs,
                const EncoderEmbedOptions& options)
      : options_(options), n_most_(most_tokens(encoder, options)) {
    if (options.role != TextRole::none) late_.reserve(inputs.size());
    texts_.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) texts_.push_back(prepare(inputs[i], i));
  }

  const std::vector<TextInput>& texts() const { return texts_; }

 private:
  TextInput prepare(const std::vector<int32_t>& tokens, size_t index) {
    const int64_t n_added = options_.role == TextRole::none ? 0 : 1;
    const int64_t n = std::ssize(tokens) + n_added;
    if (tokens.empty()) {
      throw Error(Status::invalid_argument)
          .subject("inputs")
          .field("input", index)
          .say("input {} has no tokens, expected one at least", index);
    }
    if (n > n_most_ && !options_.truncate) {
      throw Error(Status::context_full)
          .subject("inputs")
          .field("input", index)
          .field("tokens", n)
          .field("most", n_most_)
          .say("input {} has {} tokens, the model takes {}", index, n, n_most_)
          .hint("shorten it, or let it be truncated");
    }
    if (options_.role == TextRole::query) {
      late_.push_back(late_query(tokens, options_.late));
    } else if (options_.role == TextRole::document) {
      late_.push_back(late_document(tokens, n_most_, options_.late));
    } else {
      return {std::span(tokens).first(static_cast<size_t>(std::min(n, n_most_)))};
    }
    return late_.back().input();
  }

  const EncoderEmbedOptions& options_;
  int64_t n_most_;
  std::vector<LateText> late_;
  std::vector<TextInput> texts_;
};

// Calls run(first, end) for groups of texts, with progress between them.
template <class Run>
void in_groups(std::span<const TextInput> texts, const Watch& watch, Run&& run) {
  watch.report("embed", 0, texts.size());
  for (size_t first = 0; first < texts.size();) {
    size_t end = first + 1;
    int64_t n_rows = std::ssize(texts[first].tokens);
    while (end < texts.size() && n_rows + std::ssize(texts[end].tokens) <= kGroupRows)
      n_rows += std::ssize(texts[end++].tokens);
    run(first, end);
    first = end;
    watch.report("embed", first, texts.size());
  }
}

std::vector<float> preprocess(const Encoder& encoder, const ImageInput& image,
                              const ImagePreprocessConfig& config, size_t index) {
  try {
    return preprocess_image(image.rgb, config, &encoder.device().threads());
  } catch (const Error& failure) {
    throw Error(failure.status()).subject("images").say("image {}: {}", index, failure.what());
  }
}

// Leaves out the rows of a document's tokens that do not count.
void drop_skipped_rows(std::span<const TextInput> texts, const LateInteraction& late, Embeddings& out) {
  std::vector<int64_t> first_row{0};
  float* to = out.values.data();
  for (size_t i = 0; i < texts.size(); ++i) {
    const float* rows = out.values.data() + out.first_row[i] * out.width;
    const std::vector<int64_t> kept = kept_tokens(texts[i].tokens, late);
    for (const int64_t token : kept) to = std::copy_n(rows + token * out.width, out.width, to);
    first_row.push_back(first_row.back() + std::ssize(kept));
  }
  out.first_row = std::move(first_row);
  out.values.resize(static_cast<size_t>(out.first_row.back() * out.width));
}

}  // namespace

int64_t most_tokens(const Encoder& encoder, const EncoderEmbedOptions& options) {
  const TowerConfig& tower = text_tower(encoder);
  if (options.max_tokens < 0 || options.max_tokens > tower.max_rows) {
    throw Error(Status::out_of_range)
        .subject("max_tokens")
        .say("max_tokens is {}, the model takes {} at most", options.max_tokens, tower.max_rows);
  }
  if (options.role == TextRole::query) return std::min(options.late.query_length, tower.max_rows);
  return options.max_tokens > 0 ? options.max_tokens : encoder.config().max_seq_length;
}

Embeddings embed(const Encoder& encoder, std::span<const std::vector<int32_t>> inputs,
                 const EncoderEmbedOptions& options, const Watch& watch) {
  text_tower(encoder);
  check_role(encoder, options);
  const PreparedTexts prepared(encoder, inputs, options);
  const std::vector<TextInput>& texts = prepared.texts();
  Embeddings out;
  out.width = text_width(encoder, options.vectors);
  out.has_token_rows = gives_token_rows(encoder, options);
  out.first_row.push_back(0);
  for (const TextInput& text : texts) {
    out.n_tokens.push_back(std::ssize(text.tokens));
    out.first_row.push_back(out.first_row.back() + (out.has_token_rows ? out.n_tokens.back() : 1));
  }
  out.values.resize(static_cast<size_t>(out.first_row.back() * out.width));
  in_groups(texts, watch, [&](size_t first, size_t end) {
    encode_texts(encoder, std::span(texts).subspan(first, end - first), options.vectors,
                 out.values.data() + out.first_row[first] * out.width, {watch.cancel, {}});
  });
  if (options.role == TextRole::document && !options.late.skipped_tokens.empty())
    drop_skipped_rows(texts, options.late, out);
  return out;
}

Embeddings embed_sparse(const Encoder& encoder, std::span<const std::vector<int32_t>> inputs,
                        const EncoderEmbedOptions& options, const Watch& watch) {
  const TowerConfig& tower = text_tower(encoder);
  const PreparedTexts prepared(encoder, inputs, options);
  const std::vector<TextInput>& texts = prepared.texts();
  Embeddings out;
  out.width = tower.vocab_size;
  out.first_row.assign(texts.size() + 1, 0);
  for (const TextInput& text : texts) out.n_tokens.push_back(std::ssize(text.tokens));
  in_groups(texts, watch, [&](size_t first, size_t end) {
    auto vectors = encode_sparse(encoder, std::span(texts).subspan(first, end - first), {watch.cancel, {}});
    for (SparseVector& vector : vectors) out.sparse.push_back(std::move(vector));
  });
  return out;
}

Embeddings embed_images(const Encoder& encoder, std::span<const ImageInput> images,
                        const ImagePreprocessConfig& config, Normalization normalization,
                        const Watch& watch) {
  Embeddings out;
  out.width = image_width(encoder);
  out.first_row.push_back(0);
  const int64_t n_rows = encoder.config().vision->max_rows;
  for (size_t i = 0; i < images.size(); ++i) {
    out.n_tokens.push_back(n_rows);
    out.first_row.push_back(out.first_row.back() + 1);
  }
  out.values.resize(static_cast<size_t>(out.first_row.back() * out.width));
  watch.report("embed", 0, images.size());
  for (size_t first = 0; first < images.size(); first += kGroupImages) {
    const auto group = images.subspan(first, std::min(kGroupImages, images.size() - first));
    std::vector<std::vector<float>> made(group.size());
    std::vector<std::span<const float>> values;
    for (size_t i = 0; i < group.size(); ++i) {
      if (group[i].values.empty()) made[i] = preprocess(encoder, group[i], config, first + i);
      values.push_back(group[i].values.empty() ? std::span<const float>(made[i]) : group[i].values);
    }
    encode_images(encoder, values, normalization, out.values.data() + static_cast<int64_t>(first) * out.width,
                  {watch.cancel, {}});
    watch.report("embed", first + group.size(), images.size());
  }
  return out;
}

}  // namespace nanochat
