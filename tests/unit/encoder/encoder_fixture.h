// Encoders of tests/data, run the short way.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "encoder/encoder_forward.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {

inline std::string encoder_path(const std::string& name) { return model_path("encoder_" + name); }

inline const std::vector<std::string>& encoder_cases() {
  static const std::vector<std::string> names = {"bert_mean",     "bert_dense", "roberta",    "splade",
                                                 "splade_untied", "colbert",    "longformer", "t5",
                                                 "t5_gated",      "clip",       "clip_eos"};
  return names;
}

inline std::shared_ptr<const Encoder> load_encoder(const std::string& name,
                                                   std::shared_ptr<Device> device = make_device(),
                                                   const EncoderOptions& options = {}) {
  return Encoder::load(std::move(device), encoder_path(name), options, {});
}

// Texts and vectors of expected.safetensors.
class Expected {
 public:
  explicit Expected(const std::string& name) : file_(encoder_path(name) + "/expected.safetensors") {
    tokens_ = ids_of(file_, "tokens");
    lengths_ = ids_of(file_, "lengths");
    if (file_.find("types") != nullptr) types_ = ids_of(file_, "types");
    if (file_.find("attended") != nullptr) attended_ = ids_of(file_, "attended");
  }

  std::vector<float> operator[](const std::string& tensor) const { return floats_of(file_, tensor); }
  std::vector<TextInput> texts() const {
    std::vector<TextInput> texts;
    size_t first = 0;
    for (size_t i = 0; i < lengths_.size(); ++i) {
      const auto n = static_cast<size_t>(lengths_[i]);
      TextInput text{std::span(tokens_).subspan(first, n)};
      if (!types_.empty()) text.types = std::span(types_).subspan(first, n);
      if (!attended_.empty()) text.n_attended = attended_[i];
      texts.push_back(text);
      first += n;
    }
    return texts;
  }
  int64_t n_tokens() const { return std::ssize(tokens_); }

 private:
  SafetensorsFile file_;
  std::vector<int32_t> tokens_, lengths_, types_, attended_;
};

inline int64_t count_rows(std::span<const TextInput> texts, bool is_of_tokens) {
  if (!is_of_tokens) return std::ssize(texts);
  int64_t n = 0;
  for (const TextInput& text : texts) n += std::ssize(text.tokens);
  return n;
}

inline std::vector<float> encode(const Encoder& encoder, std::span<const TextInput> texts,
                                 const VectorOptions& options = {}) {
  const bool is_of_tokens =
      options.pooling == TextPooling::none ||
      (options.pooling == TextPooling::as_configured && encoder.config().pooling == TextPooling::none);
  std::vector<float> output(
      static_cast<size_t>(count_rows(texts, is_of_tokens) * text_width(encoder, options)));
  encode_texts(encoder, texts, options, output.data(), {});
  return output;
}

// Weights of all words, 0 where the vector has none.
inline std::vector<float> encode_dense_sparse(const Encoder& encoder, std::span<const TextInput> texts) {
  const auto vocab_size = static_cast<size_t>(encoder.config().text->vocab_size);
  std::vector<float> output(texts.size() * vocab_size);
  const std::vector<SparseVector> vectors = encode_sparse(encoder, texts, {});
  for (size_t i = 0; i < vectors.size(); ++i) {
    for (size_t j = 0; j < vectors[i].tokens.size(); ++j)
      output[i * vocab_size + static_cast<size_t>(vectors[i].tokens[j])] = vectors[i].weights[j];
  }
  return output;
}

inline std::vector<std::span<const float>> images_of(const std::vector<float>& pixels, int64_t n_images) {
  std::vector<std::span<const float>> images;
  const size_t size = pixels.size() / static_cast<size_t>(n_images);
  for (size_t i = 0; i < static_cast<size_t>(n_images); ++i)
    images.push_back(std::span(pixels).subspan(i * size, size));
  return images;
}

inline std::vector<float> encode_pictures(const Encoder& encoder, const std::vector<float>& pixels,
                                          int64_t n_images) {
  std::vector<float> output(static_cast<size_t>(n_images * image_width(encoder)));
  encode_images(encoder, images_of(pixels, n_images), Normalization::as_configured, output.data(), {});
  return output;
}

// Largest distance over largest magnitude, row by row: the worst row.
inline double relative_distance(std::span<const float> actual, std::span<const float> expected,
                                size_t width) {
  if (actual.size() != expected.size() || actual.size() % width != 0) return 1e9;
  double worst = 0.0;
  for (size_t row = 0; row < actual.size(); row += width) {
    double distance = 0.0, magnitude = 0.0;
    for (size_t i = row; i < row + width; ++i) {
      distance =
          std::max(distance, std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
      magnitude = std::max(magnitude, std::abs(static_cast<double>(expected[i])));
      if (!std::isfinite(actual[i])) return 1e9;
    }
    worst = std::max(worst, magnitude > 0.0 ? distance / magnitude : distance);
  }
  return worst;
}

// The smallest of all rows.
inline double smallest_cosine(std::span<const float> a, std::span<const float> b, size_t width) {
  if (a.size() != b.size() || a.size() % width != 0) return -2.0;
  double smallest = 1.0;
  for (size_t row = 0; row < a.size(); row += width) {
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = row; i < row + width; ++i) {
      ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    const double cosine = ab / std::sqrt(aa * bb);
    if (!(cosine >= smallest)) smallest = aa == 0.0 && bb == 0.0 ? smallest : cosine;
  }
  return smallest;
}

}  // namespace nanochat::testing
