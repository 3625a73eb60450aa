// What a component answers: vectors of texts, and its test.
#include "warm/component.h"

#include <algorithm>

#include "base/error.h"
#include "infer/embed.h"
#include "infer/embed_computed.h"
#include "infer/embed_text.h"
#include "infer/session.h"

namespace nanochat {

namespace {

using TokenLists = std::vector<std::vector<int32_t>>;

// Where a manifest entry gives no input, so that an answer can be looked at all the same.
constexpr std::string_view kDefaultText = "test", kDefaultTime = "2026-01-03T12:00:00Z",
                           kDefaultPosition = "0";

std::vector<int32_t> default_tokens(int64_t vocab_size) {
  std::vector<int32_t> tokens;
  for (const int64_t token : {2, 3, 4}) tokens.push_back(static_cast<int32_t>(token % vocab_size));
  return tokens;
}

EmbedOptions decoder_options(const ComponentSpec& spec) {
  EmbedOptions options;
  if (spec.pooling == TextPooling::last) options.pooling = Pooling::last;
  if (spec.pooling == TextPooling::none) options.pooling = Pooling::none;
  options.is_unit = spec.normalization != Normalization::none;
  options.truncate = true;
  options.max_tokens = spec.max_tokens;
  return options;
}

// Of the first input.
std::vector<float> flat_row(const Embeddings& embeddings) {
  if (!embeddings.bits.empty()) {
    std::vector<float> row(Hypervector::kBits);
    for (size_t i = 0; i < row.size(); ++i)
      row[i] = embeddings.bits.front().bit(static_cast<int64_t>(i)) ? 1.0F : 0.0F;
    return row;
  }
  if (embeddings.sparse.empty()) return embeddings.values;
  std::vector<float> row(static_cast<size_t>(embeddings.width));
  const SparseVector& words = embeddings.sparse.front();
  for (size_t i = 0; i < words.tokens.size(); ++i)
    row[static_cast<size_t>(words.tokens[i])] = words.weights[i];
  return row;
}

TemporalEmbedder temporal_embedder(ComponentKind kind) {
  if (kind == ComponentKind::temporal_recent) return TemporalEmbedder::recent;
  return kind == ComponentKind::temporal_periodic ? TemporalEmbedder::periodic : TemporalEmbedder::positional;
}

Embeddings embed_moments(const ComponentSpec& spec, std::span<const std::string_view> texts) {
  TemporalOptions options;
  if (spec.reference_time != 0.0) options.reference = time_point_of(spec.reference_time);
  std::vector<TimePoint> moments;
  moments.reserve(texts.size());
  for (const std::string_view text : texts) moments.push_back(parse_time_point(text));
  return embed_times(temporal_embedder(spec.kind), moments, options);
}

[[noreturn]] void refuse_texts(const ComponentSpec& spec, std::string_view why) {
  throw Error(Status::unsupported)
      .subject(spec.id)
      .field("model_id", spec.id)
      .say("component '{}' {}, texts cannot be embedded", spec.id, why);
}

}  // namespace

// The contract's one way in, for every kind that has vectors of texts.
Embeddings Component::embed_texts(std::span<const std::string_view> texts, const Watch& watch) const {
  if (fusion_ != nullptr) refuse_texts(spec_, "is a fusion of vectors");
  if (spec_.kind == ComponentKind::hyperdimensional) return embed_hypervectors(texts);
  if (!has_weights(spec_.kind)) return embed_moments(spec_, texts);
  if (encoder_ != nullptr && !encoder_->config().text) refuse_texts(spec_, "is an encoder of images");
  if (tokenizer_ == nullptr) refuse_texts(spec_, "has no tokenizer");
  const int64_t most = encoder_ != nullptr ? most_text_tokens(*encoder_, text_options_)
                                           : most_tokens(*model_, decoder_options(spec_));
  const TokenLists tokens =
      tokens_of_texts(*tokenizer_, texts, {spec_.prefix, true, most}, device_->threads(), watch.cancel);
  return embed_tokens(tokens, watch);
}

Embeddings Component::embed_tokens(std::span<const std::vector<int32_t>> tokens, const Watch& watch) const {
  if (encoder_ == nullptr) return embed(model_, tokens, decoder_options(spec_), watch);
  if (encoder_->config().head == EncoderHead::sparse)
    return embed_sparse(*encoder_, tokens, text_options_, watch);
  return embed(*encoder_, tokens, text_options_, watch);
}

std::vector<float> Component::run_test(const Watch& watch) const {
  if (fusion_ != nullptr) return test_fusion(watch);
  if (model_ != nullptr) return test_decoder(watch);
  const TestSpec& test = spec_.test;
  if (encoder_ != nullptr) {
    const bool is_of_images = !encoder_->config().text;
    if (is_of_images || (test.text.empty() && test.tokens.empty() && !test_input_.empty()))
      return test_images(watch);
    if (!test.tokens.empty()) return flat_row(embed_tokens(TokenLists{test.tokens}, watch));
    if (test.text.empty() && tokenizer_ == nullptr)
      return flat_row(embed_tokens(TokenLists{default_tokens(encoder_->config().text->vocab_size)}, watch));
  }
  std::string_view text = test.text;
  if (text.empty()) {
    text = spec_.kind == ComponentKind::temporal_positional ? kDefaultPosition
           : spec_.kind == ComponentKind::encoder || spec_.kind == ComponentKind::hyperdimensional
               ? kDefaultText
               : kDefaultTime;
  }
  return flat_row(embed_texts({&text, 1}, watch));
}

std::vector<float> Component::test_decoder(const Watch& watch) const {
  std::vector<int32_t> tokens = spec_.test.tokens;
  if (tokens.empty() && tokenizer_ != nullptr) {
    const std::string_view text = spec_.test.text.empty() ? kDefaultText : spec_.test.text;
    EncodeOptions options;
    options.add = AddSpecials::yes;
    tokens = tokenizer_->encode(text, options);
  } else if (tokens.empty()) {
    if (!spec_.test.text.empty()) refuse_texts(spec_, "has no tokenizer");
    tokens = default_tokens(model_->config().vocab_size);
  }
  std::vector<float> logits(static_cast<size_t>(model_->config().vocab_size));
  Session session(model_, std::ssize(tokens));
  session.append(tokens, LogitRows::last, logits.data(), {watch.cancel, {}});
  return logits;
}

std::vector<float> Component::test_images(const Watch& watch) const {
  const int64_t size = encoder_->config().vision->image_size;
  const std::vector<float> black(test_input_.empty() ? static_cast<size_t>(3 * size * size) : 0);
  const ImageInput image{{}, test_input_.empty() ? std::span<const float>(black) : test_input_};
  return embed_images(*encoder_, {&image, 1}, images_, spec_.normalization, {watch.cancel, {}}).values;
}

std::vector<float> Component::test_fusion(const Watch& watch) const {
  const int64_t width = fusion_->config().input_dim;
  const std::vector<float> zeros(test_input_.empty() ? static_cast<size_t>(width) : 0);
  const std::span<const float> rows = test_input_.empty() ? std::span<const float>(zeros) : test_input_;
  return fusion_->forward({rows, std::ssize(rows) / width, width}, {watch.cancel, {}}).values;
}

}  // namespace nanochat
