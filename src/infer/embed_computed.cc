#include "infer/embed_computed.h"

#include <vector>

#include "base/error.h"

namespace nanochat {

namespace {

Embeddings for_inputs(size_t n_inputs, int64_t width) {
  Embeddings out;
  out.width = width;
  out.n_tokens.resize(n_inputs);
  out.first_row.resize(n_inputs + 1);
  return out;
}

void project_sparse(const FusionProjection& projection, const SparseVector& vector, std::span<float> target) {
  std::vector<SparseValue> values(vector.tokens.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = {vector.tokens[i], vector.weights[i]};
  projection.project_sparse(values, target);
}

}  // namespace

Embeddings embed_times(TemporalEmbedder embedder, std::span<const TimePoint> times,
                       const TemporalOptions& options) {
  Embeddings out = for_inputs(times.size(), kTemporalWidth);
  out.values.resize(times.size() * kTemporalWidth);
  for (size_t i = 0; i < times.size(); ++i) {
    out.first_row[i + 1] = static_cast<int64_t>(i + 1);
    embed_time(embedder, times[i], options,
               std::span(out.values).subspan(i * kTemporalWidth, kTemporalWidth));
  }
  return out;
}

Embeddings embed_hypervectors(std::span<const std::string_view> texts) {
  Embeddings out = for_inputs(texts.size(), Hypervector::kBits);
  out.bits.reserve(texts.size());
  for (const std::string_view text : texts) out.bits.push_back(embed_hyperdimensional(text));
  return out;
}

Embeddings embed_fused(const FuseMoe& fusion, const FuseMoeInput& rows, const Watch& watch) {
  FuseMoeOutput fused = fusion.forward(rows, watch);
  Embeddings out = for_inputs(static_cast<size_t>(rows.n_rows), fusion.config().output_dim);
  for (size_t i = 0; i < out.first_row.size(); ++i) out.first_row[i] = static_cast<int64_t>(i);
  out.values = std::move(fused.values);
  out.routing = std::move(fused.routing);
  return out;
}

void project_embedding(const FusionProjection& projection, const Embeddings& embeddings, size_t input,
                       std::span<float> target) {
  const FusionInput& to = projection.input();
  if (!embeddings.bits.empty()) return projection.project_bits(embeddings.bits[input], target);
  if (embeddings.width != to.native_dim) {
    throw Error(Status::invalid_argument)
        .subject(to.id)
        .say("{}: the embeddings have {} values, expected {}", to.id, embeddings.width, to.native_dim);
  }
  if (!embeddings.sparse.empty()) return project_sparse(projection, embeddings.sparse[input], target);
  const auto first = static_cast<size_t>(embeddings.first_row[input] * embeddings.width);
  const auto end = static_cast<size_t>(embeddings.first_row[input + 1] * embeddings.width);
  const auto rows = std::span(embeddings.values).subspan(first, end - first);
  if (to.form == EmbeddingForm::tokens) return projection.project_tokens(rows, target);
  projection.project(rows, target);
}

}  // namespace nanochat
