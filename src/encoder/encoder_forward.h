// Texts and images to vectors: one forward pass for every family of encoders, over the rows of many inputs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "encoder/encoder.h"

namespace nanochat {

struct TextInput {
  std::span<const int32_t> tokens;      // not empty
  std::span<const int32_t> types = {};  // one for each token; empty: all 0
  // Tokens that are seen. Later ones see them, but are seen by nobody and not pooled: ColBERT's masks. 0:
  // all.
  int64_t n_attended = 0;
};

enum class Normalization : int32_t { as_configured, none, unit };  // unit: length 1

struct VectorOptions {
  TextPooling pooling = TextPooling::as_configured;
  Normalization normalization = Normalization::as_configured;
  int64_t n_global_tokens = -1;  // Longformer: the first ones of a text; -1: as configured
};

// Numbers of a text's vector, or with pooling none of each of its tokens'.
int64_t text_width(const Encoder& encoder, const VectorOptions& options);
int64_t image_width(const Encoder& encoder);

// Writes one vector for each text (host memory, fp32), or with pooling none one for each token, texts in
// order: the states of the last layer, or ColBERT's. A projection, dense layers and normalisation follow
// pooling as the model's files say. Texts run together in passes of some kEncoderRows rows; the bits do not
// depend on that, nor on the other texts. Throws, before anything is computed: out_of_range (a token, a type,
// a number of tokens), invalid_argument (an empty text, a way of pooling that the model has nothing for),
// unsupported (no text transformer, a sparse model). working_memory_exhausted; cancelled between layers.
void encode_texts(const Encoder& encoder, std::span<const TextInput> texts, const VectorOptions& options,
                  float* output, const Watch& watch);

// Each image: normalised pixels [3, image_size, image_size]. Writes one vector for each.
void encode_images(const Encoder& encoder, std::span<const std::span<const float>> images,
                   Normalization normalization, float* output, const Watch& watch);

// Of a sparse model: the words of the vocabulary with a weight above 0, in ascending order.
struct SparseVector {
  std::vector<int32_t> tokens;
  std::vector<float> weights;
};
std::vector<SparseVector> encode_sparse(const Encoder& encoder, std::span<const TextInput> texts,
                                        const Watch& watch);

}  // namespace nanochat
