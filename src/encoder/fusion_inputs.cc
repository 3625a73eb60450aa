// The table of the twelve.
#include <array>

#include "base/error.h"
#include "base/excerpt.h"
#include "encoder/projection.h"

namespace nanochat {

namespace {

using enum EmbeddingForm;

constexpr std::array<FusionInput, kFusionInputs> kInputs = {{
    {1, "E1_Semantic", "semantic", "intfloat/e5-large-v2", dense, 1024, 1024, 0, 512, true},
    {2, "E2_TemporalRecent", "temporal_recent", "exponential decay", dense, 512, 512, 1024, 0, false},
    {3, "E3_TemporalPeriodic", "temporal_periodic", "Fourier basis", dense, 512, 512, 1536, 0, false},
    {4, "E4_TemporalPositional", "temporal_positional", "sinusoidal positions", dense, 512, 512, 2048, 0,
     false},
    {5, "E5_Causal", "causal", "allenai/longformer-base-4096", dense, 768, 768, 2560, 4096, true},
    {6, "E6_Sparse", "sparse", "naver/splade-cocondenser", sparse, 30522, 1536, 3328, 512, true},
    {7, "E7_Code", "code", "Salesforce/codet5p-110m-embedding", dense, 256, 768, 4864, 512, true},
    {8, "E8_Graph", "graph", "paraphrase-MiniLM-L6-v2", dense, 384, 384, 5632, 512, true},
    {9, "E9_HDC", "hdc", "hyperdimensional trigrams", bits, 10000, 1024, 6016, 0, false},
    {10, "E10_Multimodal", "multimodal", "openai/clip-vit-large-patch14", dense, 768, 768, 7040, 77, true},
    {11, "E11_Entity", "entity", "all-MiniLM-L6-v2", dense, 384, 384, 7808, 512, true},
    {12, "E12_LateInteraction", "late_interaction", "colbert-ir/colbertv2.0", tokens, 128, 128, 8192, 512,
     true},
}};

constexpr bool parts_fill_the_row() {
  int64_t offset = 0;
  int32_t number = 1;
  for (const FusionInput& input : kInputs) {
    if (input.offset != offset || input.number != number++) return false;
    offset += input.fusion_dim;
  }
  return offset == kFusionWidth;
}
static_assert(parts_fill_the_row());
static_assert(kInputs[8].native_dim == Hypervector::kBits);

}  // namespace

std::span<const FusionInput, kFusionInputs> fusion_inputs() { return kInputs; }

const FusionInput& fusion_input(std::string_view id_or_name) {
  for (const FusionInput& input : kInputs) {
    if (input.id == id_or_name || input.name == id_or_name) return input;
  }
  throw Error(Status::not_found)
      .subject(excerpt(id_or_name))
      .say("no embedder is called '{}', expected one such as 'E1_Semantic' or 'semantic'",
           excerpt(id_or_name));
}

void place_fusion_part(const FusionInput& input, std::span<const float> part, std::span<float> row) {
  if (std::ssize(part) != input.fusion_dim || std::ssize(row) != kFusionWidth) {
    throw Error(Status::invalid_argument)
        .subject(input.id)
        .say("{}: {} values into a row of {}, expected {} into {}", input.id, part.size(), row.size(),
             input.fusion_dim, kFusionWidth);
  }
  std::copy(part.begin(), part.end(), row.begin() + input.offset);
}

}  // namespace nanochat
