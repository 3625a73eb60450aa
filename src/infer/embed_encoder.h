// Vectors for texts and images from an encoder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "encoder/encoder_forward.h"
#include "encoder/encoder_late_interaction.h"
#include "encoder/image_preprocess.h"
#include "infer/embeddings.h"

namespace nanochat {

// ColBERT: what a text is to the model.
enum class TextRole : int32_t { none, query, document };

struct EncoderEmbedOptions {
  VectorOptions vectors;
  int64_t max_tokens = 0;  // of an input; 0: as the model's files say
  bool truncate = false;   // longer inputs to their first tokens; else they are refused
  TextRole role = TextRole::none;
  LateInteraction late;  // with a role
};

// How many tokens an input may have, with what the role adds. Throws out_of_range: max_tokens is more than
// the model takes.
int64_t most_tokens(const Encoder& encoder, const EncoderEmbedOptions& options);

// The bits of an input's rows do not depend on the other inputs. Throws context_full naming the input and
// both numbers, invalid_argument (an empty input; a role without a row for each token) and what
// encode_texts() throws.
Embeddings embed(const Encoder& encoder, std::span<const std::vector<int32_t>> inputs,
                 const EncoderEmbedOptions& options, const Watch& watch);
Embeddings embed_sparse(const Encoder& encoder, std::span<const std::vector<int32_t>> inputs,
                        const EncoderEmbedOptions& options, const Watch& watch);

// An image as bytes, or as normalised values if there are no bytes.
struct ImageInput {
  RgbImage rgb;
  std::span<const float> values;  // [3, height, width]
};
Embeddings embed_images(const Encoder& encoder, std::span<const ImageInput> images,
                        const ImagePreprocessConfig& config, Normalization normalization, const Watch& watch);

}  // namespace nanochat
