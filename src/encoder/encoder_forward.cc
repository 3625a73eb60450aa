// Texts to vectors.
#include "encoder/encoder_forward.h"

#include <algorithm>

#include "base/error.h"
#include "encoder/encoder_batch.h"
#include "encoder/encoder_head.h"

namespace nanochat {

namespace {

TextPooling pooling_of(const Encoder& encoder, const VectorOptions& options) {
  const TextPooling pooling =
      options.pooling == TextPooling::as_configured ? encoder.config().pooling : options.pooling;
  if (pooling == TextPooling::pooler && !encoder.has_pooler()) {
    throw Error(Status::invalid_argument)
        .subject("pooling")
        .hint("load the model with its pooler")
        .say("pooling by the model's pooler is asked for, but the model was loaded without one");
  }
  return pooling;
}

int64_t end_of_text(std::span<const int32_t> tokens, int32_t end_token) {
  const auto found = end_token < 0 ? std::max_element(tokens.begin(), tokens.end())
                                   : std::find(tokens.begin(), tokens.end(), end_token);
  return found == tokens.end() ? 0 : found - tokens.begin();
}

RowRange pooled_range(const TextInput& text, const InputRows& rows, TextPooling pooling, int32_t end_token) {
  switch (pooling) {
    case TextPooling::mean:
    case TextPooling::max:
      return {rows.first_row, rows.n_keys};
    case TextPooling::last:
      return {rows.first_row + rows.n_keys - 1, 1};
    case TextPooling::end_of_text:
      return {rows.first_row + end_of_text(text.tokens, end_token), 1};
    default:
      return {rows.first_row, 1};
  }
}

// The state of every row, or what ColBERT makes of it.
float* write_tokens(const Encoder& encoder, const TowerBuffers& buffers, int64_t n_rows, bool is_unit,
                    float* output) {
  Device& device = encoder.device();
  const int64_t width = encoder.config().text->n_embd;
  float* rows = buffers.x;
  int64_t n_values = width;
  if (encoder.config().head == EncoderHead::token_projection) {
    const EncoderLinear& linear = encoder.weights().token_projection;
    rows = buffers.tokens;
    n_values = linear.matrix.n;
    apply_linear(device, linear, {buffers.x, width, rows, n_values, n_rows}, LinearOutput::store,
                 RowActivation::none);
  }
  if (is_unit) normalize_rows(device, rows, n_rows, n_values);
  device.copy_to_host(output, rows, static_cast<size_t>(n_rows * n_values) * sizeof(float));
  return output + n_rows * n_values;
}

// One vector of each text.
float* write_vectors(const Encoder& encoder, const FinishedTexts& done, TextPooling pooling, bool is_unit,
                     float* output) {
  const EncoderConfig& config = encoder.config();
  const int64_t width = config.text->n_embd;
  std::vector<RowRange> ranges;
  for (size_t i = 0; i < done.texts.size(); ++i)
    ranges.push_back(pooled_range(done.texts[i], done.rows[i], pooling, config.end_token));
  const auto how = pooling == TextPooling::max ? RowPooling::max : RowPooling::mean;
  Device& device = encoder.device();
  device.kernels().pool_rows(device, ranges, done.buffers.x, width, width, how, done.buffers.pooled);
  VectorHead head(encoder, done.buffers, std::ssize(done.texts), width);
  if (pooling == TextPooling::pooler) head.apply(encoder.weights().pooler, RowActivation::tanh);
  if (config.head == EncoderHead::projection)
    head.apply(encoder.weights().text.projection, RowActivation::none);
  for (size_t i = 0; i < config.dense.size(); ++i)
    head.apply(encoder.weights().dense[i], config.dense[i].activation);
  return head.write(is_unit, output);
}

}  // namespace

int64_t text_width(const Encoder& encoder, const VectorOptions& options) {
  require_text_tower(encoder);
  const EncoderConfig& config = encoder.config();
  const bool is_sparse = config.head == EncoderHead::sparse;
  return text_width(config, is_sparse ? TextPooling::as_configured : pooling_of(encoder, options));
}

void encode_texts(const Encoder& encoder, std::span<const TextInput> texts, const VectorOptions& options,
                  float* output, const Watch& watch) {
  const TowerConfig& tower = require_text_tower(encoder);
  const EncoderConfig& config = encoder.config();
  if (config.head == EncoderHead::sparse) {
    throw Error(Status::unsupported)
        .subject("encoder")
        .hint("ask for sparse vectors")
        .say("the model gives weights of its vocabulary, not dense vectors");
  }
  const TextPooling pooling = pooling_of(encoder, options);
  const bool is_unit = wants_unit(encoder, options.normalization);
  int64_t n_global = options.n_global_tokens < 0 ? config.n_global_tokens : options.n_global_tokens;
  if (!tower.has_global_tokens) n_global = 0;
  run_texts(encoder, texts, n_global, watch, [&](const FinishedTexts& done) {
    const TowerBuffers& buffers = done.buffers;
    if (tower.has_final_norm)
      done.pass.norm(encoder.weights().text.final_norm, buffers.x, buffers.x, done.n_rows);
    if (pooling == TextPooling::none) {
      output = write_tokens(encoder, buffers, done.n_rows, is_unit, output);
    } else {
      output = write_vectors(encoder, done, pooling, is_unit, output);
    }
  });
}

}  // namespace nanochat
