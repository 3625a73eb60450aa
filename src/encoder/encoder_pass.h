// The layers of one transformer over the rows of several inputs at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "encoder/encoder_layout.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat {

// Rows of a pass that belong to one text or image.
struct InputRows {
  int64_t first_row, n_rows;
  int64_t n_keys;    // the first of them are seen
  int64_t n_global;  // the first of them see all and are seen by all, beyond windows
};

// Tokens of all texts of a pass, row by row.
struct TokenRows {
  std::vector<int32_t> ids, positions, types;
};

struct LinearRows {
  const float* x;
  int64_t ldx;
  float* y;
  int64_t ldy;
  int64_t n;
};

// y (+)= matrix x + bias, then the activation. Every matrix of an encoder is applied here.
void apply_linear(Device& device, const EncoderLinear& linear, const LinearRows& rows, LinearOutput output,
                  RowActivation activation);

class TowerPass {
 public:
  TowerPass(const Encoder& encoder, const TowerConfig& tower, const TowerWeights& weights,
            const TowerBuffers& buffers, std::span<const InputRows> inputs);

  void embed_tokens(const TokenRows& tokens);
  void embed_images(std::span<const std::span<const float>> images);
  void run_layers(const Watch& watch);  // leaves the states in buffers.x
  void norm(const EncoderNorm& norm, const float* x, float* y, int64_t n_rows);

 private:
  void run_layer(size_t index);
  void attend(size_t index);
  void attend_group(std::span<const InputRows> group, AttentionShape shape);
  void project_globally(const EncoderLayer& layer);
  int64_t attend_group_globally(std::span<const InputRows> group, int64_t global_row);
  std::vector<SequenceRows> rows_of(std::span<const InputRows> group) const;
  void feed_forward(const EncoderLayer& layer, const float* x);
  void add_to_stream(const EncoderLinear& linear, const float* rows, int64_t ld);
  AttentionShape open_shape() const;
  AttentionShape shape_of(size_t layer) const;

  const EncoderWeights& all_weights_;
  const TowerConfig& tower_;
  const TowerWeights& weights_;
  const TowerBuffers& buffers_;
  Device& device_;
  const Kernels& kernels_;
  std::span<const InputRows> inputs_;
  int64_t n_rows_, n_global_rows_ = 0, n_global_ = 0;  // of all inputs; of the one that has the most
  int64_t n_most_pages_;
  std::vector<std::byte*> pages_;
};

// What a pass over these inputs needs.
TowerSizes tower_sizes(const TowerConfig& tower, std::span<const InputRows> inputs);

}  // namespace nanochat
