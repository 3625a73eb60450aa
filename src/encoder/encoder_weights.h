// Where an encoder's weights lie, and what tensor on disk each of them is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "encoder/encoder_config.h"
#include "model/tensor_spec.h"
#include "tensor/kernels.h"

namespace nanochat {

// y = activation(matrix x + bias): the one form of a matrix in an encoder, applied in one place.
struct EncoderLinear {
  PackedMatrix matrix;
  const float* bias = nullptr;  // [matrix.n] or nullptr
};

struct EncoderNorm {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

struct EmbeddingTable {
  DType dtype = DType::f32;
  const void* rows = nullptr;
};

struct EncoderLayer {
  EncoderLinear qkv;  // rows: q, then k, then v
  EncoderLinear o;
  EncoderLinear mlp_in;  // gated: what is activated, then what it is multiplied with
  EncoderLinear mlp_out;
  EncoderNorm attention_norm, mlp_norm;
  EncoderLinear global_q, global_kv;  // Longformer
};

struct TowerWeights {
  EmbeddingTable words, positions, types;  // words: nullptr if the head's matrix has them
  EncoderLinear patches;                   // over [3, patch, patch]
  const float* class_embedding = nullptr;  // [n_embd]
  EncoderNorm embedding_norm, final_norm;
  std::vector<EncoderLayer> layers;
  const float* attention_bias = nullptr;  // [n_head][2 * bias_reach + 1]
  int64_t bias_reach = 0;
  std::vector<float> bucket_bias;  // host: [n_buckets][n_head], what attention_bias is made of
  EncoderLinear projection;
};

struct EncoderWeights {
  TowerWeights text, vision;
  EncoderLinear pooler;
  EncoderLinear token_projection;
  EncoderLinear head_transform, vocabulary;  // sparse
  EncoderNorm head_norm;
  std::vector<EncoderLinear> dense;
};

// One tensor on disk and its place. What its kind does not need stays empty.
struct EncoderSlot : TensorSpec {
  size_t folder = 0;               // 0: the model's own; else which of the folders of its modules
  PackedMatrix* matrix = nullptr;  // its rows are rows first.. of n_whole
  const float** vector = nullptr;  // its elements are elements first.. of n_whole
  EmbeddingTable* table = nullptr;
  std::vector<float>* host = nullptr;
  int64_t first = 0, n_whole = 0;
  double mean = 0.0, deviation = 0.0;  // of a random model's
  bool is_embedding = false;
};

enum class PoolerWeights : int32_t { absent, present };

// All tensors of a configuration in the order in which a forward pass meets them. `names`, sorted, are those
// of the directory: they decide on prefix and spelling; without them both are as the family's own files have
// them. Makes the lists in `weights` as long as they have to be and points into them.
std::vector<EncoderSlot> encoder_slots(const EncoderConfig& config, PoolerWeights pooler,
                                       std::span<const std::string> names, EncoderWeights& weights);

// Folders that slots may come from, after the model's own: of dense layers, or of the token projection.
std::vector<std::string> module_folders(const EncoderConfig& config);

// Whether a tensor of the model's own folder that is no slot belongs inside of the transformer, which then
// computes something else than its configuration says. Heads and the other tower do not.
bool is_misplaced_tensor(const EncoderConfig& config, std::span<const std::string> names,
                         std::string_view name);

}  // namespace nanochat
