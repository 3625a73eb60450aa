// Where every weight lies in the one block of an encoder, and every activation of a pass in its block. Plan
// and load are the same arithmetic on different bases.
#pragma once

#include <cstdint>
#include <span>

#include "encoder/encoder.h"

namespace nanochat {

struct EncoderLayout {
  uint64_t n_bytes;  // of the block
  WeightDtype weight_dtype;
};

// Gives every matrix its type and extents and everything a place; slots point into `weights`. stored[i]: the
// type of slots[i] on disk. base nullptr gives the sizes alone.
EncoderLayout lay_out_encoder(const EncoderConfig& config, std::span<const EncoderSlot> slots,
                              std::span<const DType> stored, const EncoderOptions& options, void* base,
                              EncoderWeights& weights);

EncoderPlan plan_encoder(const EncoderConfig& config, std::span<const EncoderSlot> slots,
                         std::span<const DType> stored, const EncoderLayout& layout);

// Rows that run through the layers together, unless one text has more.
inline constexpr int64_t kEncoderRows = 1024;
// Rows whose vocabulary is computed at once for a sparse vector.
inline constexpr int64_t kSparseRows = 128;
// Keys and values of this many bytes at once, unless one text needs more.
inline constexpr uint64_t kEncoderPageBytes = uint64_t{4} << 20;

struct TowerSizes {
  int64_t n_rows;         // of the pass
  int64_t n_inputs;       // texts or images
  int64_t n_pages;        // of the largest group whose keys are held at once
  int64_t n_global_rows;  // of all inputs
  int64_t n_patch_rows;   // of images
};

// What a model or a pass does not have is nullptr.
struct TowerBuffers {
  float* x;           // [n_rows, n_embd] the residual stream
  float* normed;      // [n_rows, n_embd]
  float* qkv;         // [n_rows, q | k | v]
  float* attention;   // [n_rows, attention_width]
  float* hidden;      // [n_rows, rows of mlp_in]
  float* global_kv;   // [n_rows, k | v]
  float* global_x;    // [n_global_rows, n_embd]
  float* global_q;    // [n_global_rows, attention_width]
  float* global_y;    // [n_global_rows, attention_width]
  float* patches;     // [n_patch_rows, 3 * patch_size^2]
  std::byte* pages;   // [n_pages]
  float* pooled;      // [n_inputs, n_embd]
  float* vectors[2];  // [n_inputs, the widest of what follows pooling], in turn
  float* tokens;      // [n_rows, head_width] of a token projection
  float* logits;      // [kSparseRows, vocab_size]
  float* largest;     // [kSparseRows + pieces of the longest text, vocab_size]
  uint64_t n_bytes;
};
TowerBuffers lay_out_tower(const EncoderConfig& config, const TowerConfig& tower, const TowerSizes& sizes,
                           void* base);

// Bytes of keys and values of 64 positions of one layer.
uint64_t tower_page_bytes(const TowerConfig& tower);

}  // namespace nanochat
