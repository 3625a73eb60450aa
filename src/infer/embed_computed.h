// Vectors without a model's weights: of times and positions, and hypervectors of texts.
#pragma once

#include <span>
#include <string_view>

#include "encoder/projection.h"
#include "encoder/temporal_embedder.h"
#include "infer/embeddings.h"

namespace nanochat {

Embeddings embed_times(TemporalEmbedder embedder, std::span<const TimePoint> times,
                       const TemporalOptions& options);
Embeddings embed_hypervectors(std::span<const std::string_view> texts);

// Input `input` of the embeddings as its part of a fusion's row. target [projection.input().fusion_dim].
// Throws invalid_argument for another form or width, naming both, and for a value that is not finite.
void project_embedding(const FusionProjection& projection, const Embeddings& embeddings, size_t input,
                       std::span<float> target);

}  // namespace nanochat
