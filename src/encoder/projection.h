// The twelve embeddings that FuseMoE takes, where each lies in its input row of 8320 numbers, and how an
// embedder's own output becomes its part of the row.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "encoder/hypervector.h"

namespace nanochat {

// What an embedder gives: one vector, a vector that is mostly zero, bits, or one vector per token.
enum class EmbeddingForm : int32_t { dense, sparse, bits, tokens };

struct FusionInput {
  int32_t number;           // 1..12: E1..E12
  std::string_view id;      // "E1_Semantic"
  std::string_view name;    // "semantic"
  std::string_view source;  // a model's name, or how it is computed
  EmbeddingForm form;
  int64_t native_dim, fusion_dim;
  int64_t offset;      // of its part in the row
  int64_t max_tokens;  // 0: takes no tokens
  bool has_weights;
};

inline constexpr int64_t kFusionInputs = 12;
inline constexpr int64_t kFusionWidth = 8320;
std::span<const FusionInput, kFusionInputs> fusion_inputs();  // E1..E12

// By id ("E9_HDC") or name ("hdc"); throws not_found naming it.
const FusionInput& fusion_input(std::string_view id_or_name);

struct SparseValue {
  int32_t index;
  float value;
};

// From an embedder's form to its part of the row. Three kinds:
// - identity, where form dense or tokens has the width already;
// - fixed: y_j = scale * sum over i of sign(j, i) x_i with scale 1 / sqrt(fusion_dim), which keeps lengths on
//   average; sign(j, i) is -1 where bit j of Philox(seed kProjectionSeed, stream number * 2^32 + i) is 1 (bit
//   j % 32 of word j / 32 % 4 of block j / 128);
// - trained: y = W x + b with W [fusion_dim, native_dim] from a file.
// Tokens are averaged first, and the average is brought to length 1 (one of zeros stays). Bits count as
// +-1/100, a vector of length 1. Sums are in double, in ascending order of i: the same bits on every machine.
// Immutable; share between threads.
class FusionProjection {
 public:
  static constexpr uint64_t kProjectionSeed = 8320;

  // Identity where that is possible, else fixed. Holds native_dim * fusion_dim / 8 bytes (E6: 5.9 MB).
  explicit FusionProjection(const FusionInput& input);

  // Trained: a safetensors file with "weight" and, if it is there, "bias" [fusion_dim] (F32, BF16, F16).
  // Throws format_invalid naming the tensor and both shapes, and for a value that is not finite.
  FusionProjection(const FusionInput& input, const std::string& path);

  const FusionInput& input() const { return input_; }
  bool is_identity() const { return signs_.empty() && weights_.empty(); }
  bool is_trained() const { return !weights_.empty(); }

  // target [fusion_dim]. Each throws invalid_argument for another form, another width, a value that is not
  // finite (naming its index), indices that do not ascend within 0..native_dim-1, no tokens.
  void project(std::span<const float> vector, std::span<float> target) const;               // dense
  void project_sparse(std::span<const SparseValue> values, std::span<float> target) const;  // sparse
  void project_bits(const Hypervector& bits, std::span<float> target) const;                // bits
  void project_tokens(std::span<const float> rows, std::span<float> target) const;          // tokens

 private:
  void require_form(EmbeddingForm form, std::span<float> target) const;
  void apply(std::span<const float> vector, std::span<float> target) const;
  void add_column(int64_t index, double value, std::span<double> sums) const;
  void finish(std::span<const double> sums, std::span<float> target) const;
  void project_signs_of_bits(const Hypervector& bits, std::span<float> target) const;

  FusionInput input_;
  size_t words_per_column_ = 0;
  std::vector<uint64_t> signs_;  // [native_dim][fusion_dim / 64]
  std::vector<float> weights_;   // [native_dim][fusion_dim]: transposed
  std::vector<float> bias_;
};

// row [kFusionWidth]: puts a part in its place. Throws invalid_argument for another width.
void place_fusion_part(const FusionInput& input, std::span<const float> part, std::span<float> row);

}  // namespace nanochat
