// Vectors that no transformer makes: of times and positions, hypervectors of texts, fused ones.
#pragma once

#include <span>
#include <string_view>

#include "encoder/fuse_moe.h"
#include "encoder/projection.h"
#include "encoder/temporal_embedder.h"
#include "infer/embeddings.h"

namespace nanochat {

Embeddings embed_times(TemporalEmbedder embedder, std::span<const TimePoint> times,
                       const TemporalOptions& options);
Embeddings embed_hypervectors(std::span<const std::string_view> texts);

// FuseMoe::forward(): a vector for each row, with its routing.
Embeddings embed_fused(const FuseMoe& fusion, const FuseMoeInput& rows, const Watch& watch);

// Input `input` of the embeddings as its part of a fusion's row. target [projection.input().fusion_dim].
// Throws invalid_argument for another form or width, naming both, and for a value that is not finite.
void project_embedding(const FusionProjection& projection, const Embeddings& embeddings, size_t input,
                       std::span<float> target);

}  // namespace nanochat
