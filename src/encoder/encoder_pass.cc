#include "encoder/encoder_pass.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "tensor/kv_page.h"

namespace nanochat {

namespace {

int64_t pages_at_once(const TowerConfig& tower) {
  return std::max<int64_t>(1, static_cast<int64_t>(kEncoderPageBytes / tower_page_bytes(tower)));
}

// The first input past a group whose keys are held at once.
size_t end_of_group(std::span<const InputRows> inputs, size_t first, int64_t n_most_pages) {
  int64_t n_pages = page_count(inputs[first].n_rows);
  size_t end = first + 1;
  while (end < inputs.size() && n_pages + page_count(inputs[end].n_rows) <= n_most_pages) {
    n_pages += page_count(inputs[end++].n_rows);
  }
  return end;
}

// Patches of an image [3, size, size], one row for each: [3, patch, patch].
void cut_into_patches(std::span<const float> pixels, const TowerConfig& tower, float* rows) {
  const int64_t size = tower.image_size, patch = tower.patch_size, n_side = size / patch;
  for (int64_t row = 0; row < n_side * n_side; ++row) {
    const int64_t top = row / n_side * patch, left = row % n_side * patch;
    for (int64_t channel = 0; channel < 3; ++channel) {
      for (int64_t y = 0; y < patch; ++y) {
        const float* line = pixels.data() + (channel * size + top + y) * size + left;
        rows = std::copy(line, line + patch, rows);
      }
    }
  }
}

}  // namespace

TowerSizes tower_sizes(const TowerConfig& tower, std::span<const InputRows> inputs) {
  TowerSizes sizes{};
  sizes.n_inputs = std::ssize(inputs);
  for (const InputRows& input : inputs) {
    sizes.n_rows += input.n_rows;
    sizes.n_global_rows += input.n_global;
  }
  if (tower.patch_size > 0) sizes.n_patch_rows = sizes.n_inputs * tower.n_patches();
  const int64_t n_most = pages_at_once(tower);
  for (size_t first = 0; first < inputs.size();) {
    const size_t end = end_of_group(inputs, first, n_most);
    int64_t n_pages = 0;
    for (size_t i = first; i < end; ++i) n_pages += page_count(inputs[i].n_rows);
    sizes.n_pages = std::max(sizes.n_pages, n_pages);
    first = end;
  }
  return sizes;
}

void apply_linear(Device& device, const EncoderLinear& linear, const LinearRows& rows, LinearOutput output,
                  RowActivation activation) {
  const Kernels& kernels = device.kernels();
  kernels.linear(device, linear.matrix, rows.x, rows.ldx, rows.n, rows.y, rows.ldy, output);
  if (linear.bias == nullptr && activation == RowActivation::none) return;
  kernels.bias_activation(device, rows.y, rows.ldy, rows.n, linear.matrix.n, linear.bias, activation);
}

TowerPass::TowerPass(const Encoder& encoder, const TowerConfig& tower, const TowerWeights& weights,
                     const TowerBuffers& buffers, std::span<const InputRows> inputs)
    : all_weights_(encoder.weights()),
      tower_(tower),
      weights_(weights),
      buffers_(buffers),
      device_(encoder.device()),
      kernels_(device_.kernels()),
      inputs_(inputs),
      n_rows_(inputs.back().first_row + inputs.back().n_rows),
      n_most_pages_(pages_at_once(tower)) {
  for (const InputRows& input : inputs) {
    n_global_rows_ += input.n_global;
    n_global_ = std::max(n_global_, input.n_global);
  }
  const int64_t n_pages = tower_sizes(tower, inputs).n_pages;
  const uint64_t page_bytes = tower_page_bytes(tower);
  for (int64_t i = 0; i < n_pages; ++i)
    pages_.push_back(buffers.pages + static_cast<uint64_t>(i) * page_bytes);
}

void TowerPass::norm(const EncoderNorm& norm, const float* x, float* y, int64_t n_rows) {
  const int64_t width = tower_.n_embd;
  if (tower_.norm == NormKind::rms) {
    kernels_.rms_norm(device_, x, width, y, width, n_rows, 1, width, tower_.norm_eps, 1.0F, norm.weight);
  } else {
    kernels_.layer_norm(device_, x, width, y, width, n_rows, width, tower_.norm_eps, norm.weight, norm.bias);
  }
}

void TowerPass::embed_tokens(const TokenRows& tokens) {
  const int64_t width = tower_.n_embd, n = n_rows_ * width;
  const EmbeddingTable& words = weights_.words;
  if (words.rows != nullptr) {
    kernels_.embed(device_, words.rows, words.dtype, tokens.ids, width, buffers_.x);
  } else {
    kernels_.unpack_rows(device_, all_weights_.vocabulary.matrix, tokens.ids, buffers_.x);
  }
  const auto add = [&](const EmbeddingTable& table, const std::vector<int32_t>& ids) {
    if (table.rows == nullptr) return;
    kernels_.embed(device_, table.rows, table.dtype, ids, width, buffers_.normed);
    kernels_.scale_add(device_, 1.0F, buffers_.normed, 1.0F, buffers_.x, n);
  };
  add(weights_.types, tokens.types);
  add(weights_.positions, tokens.positions);
  if (tower_.has_embedding_norm) norm(weights_.embedding_norm, buffers_.x, buffers_.x, n_rows_);
}

void TowerPass::embed_images(std::span<const std::span<const float>> images) {
  const int64_t width = tower_.n_embd, n_patches = tower_.n_patches();
  const int64_t patch_width = 3 * tower_.patch_size * tower_.patch_size;
  std::vector<float> patches(static_cast<size_t>(n_patches * patch_width));
  std::vector<int32_t> positions;
  for (size_t i = 0; i < images.size(); ++i) {
    cut_into_patches(images[i], tower_, patches.data());
    float* const rows = buffers_.patches + static_cast<int64_t>(i) * n_patches * patch_width;
    device_.copy_to_device(rows, patches.data(), patches.size() * sizeof(float));
    float* const x = buffers_.x + inputs_[i].first_row * width;
    device_.copy(x, weights_.class_embedding, static_cast<size_t>(width) * sizeof(float));
    apply_linear(device_, weights_.patches, {rows, patch_width, x + width, width, n_patches},
                 LinearOutput::store, RowActivation::none);
    for (int64_t position = 0; position <= n_patches; ++position)
      positions.push_back(static_cast<int32_t>(position));
  }
  const EmbeddingTable& table = weights_.positions;
  kernels_.embed(device_, table.rows, table.dtype, positions, width, buffers_.normed);
  kernels_.scale_add(device_, 1.0F, buffers_.normed, 1.0F, buffers_.x, n_rows_ * width);
  norm(weights_.embedding_norm, buffers_.x, buffers_.x, n_rows_);
}

void TowerPass::run_layers(const Watch& watch) {
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    watch.check();
    run_layer(i);
  }
}

void TowerPass::run_layer(size_t index) {
  const EncoderLayer& layer = weights_.layers[index];
  if (tower_.norm_placement == NormPlacement::after) {
    attend(index);
    norm(layer.attention_norm, buffers_.x, buffers_.x, n_rows_);
    feed_forward(layer, buffers_.x);
    norm(layer.mlp_norm, buffers_.x, buffers_.x, n_rows_);
  } else {
    norm(layer.attention_norm, buffers_.x, buffers_.normed, n_rows_);
    attend(index);
    norm(layer.mlp_norm, buffers_.x, buffers_.normed, n_rows_);
    feed_forward(layer, buffers_.normed);
  }
}

// x += linear(rows)
void TowerPass::add_to_stream(const EncoderLinear& linear, const float* rows, int64_t ld) {
  apply_linear(device_, linear, {rows, ld, buffers_.x, tower_.n_embd, n_rows_}, LinearOutput::add,
               RowActivation::none);
}

void TowerPass::feed_forward(const EncoderLayer& layer, const float* x) {
  const int64_t width = tower_.mlp_hidden, ld = layer.mlp_in.matrix.n;
  float* const hidden = buffers_.hidden;
  const RowActivation activation = tower_.is_gated ? RowActivation::none : tower_.activation;
  apply_linear(device_, layer.mlp_in, {x, tower_.n_embd, hidden, ld, n_rows_}, LinearOutput::store,
               activation);
  if (tower_.is_gated) {
    kernels_.bias_activation(device_, hidden, ld, n_rows_, width, nullptr, tower_.activation);
    kernels_.multiply(device_, hidden, ld, hidden + width, ld, n_rows_, width);
  }
  add_to_stream(layer.mlp_out, hidden, ld);
}

// --- attention ---------------------------------------------------------------------------------------------

// Every query sees all keys. Where matrices round what they multiply, keys and values are rounded as well:
// bf16 pages take half of the time and of the room that there is for each.
AttentionShape TowerPass::open_shape() const {
  AttentionShape shape{tower_.n_head, tower_.n_head, tower_.head_dim, -1, tower_.attn_scale};
  shape.window_right = -1;
  if (weights_.layers.front().qkv.matrix.dtype != DType::f32) shape.kv_dtype = DType::bf16;
  return shape;
}

AttentionShape TowerPass::shape_of(size_t layer) const {
  AttentionShape shape = open_shape();
  if (tower_.is_causal) shape.window_right = 0;
  if (!tower_.window.empty()) shape.window_left = shape.window_right = tower_.window[layer];
  shape.bias = weights_.attention_bias;
  shape.bias_reach = weights_.bias_reach;
  return shape;
}

void TowerPass::attend(size_t index) {
  const EncoderLayer& layer = weights_.layers[index];
  const int64_t inner = tower_.attention_width();
  const float* const x = tower_.norm_placement == NormPlacement::after ? buffers_.x : buffers_.normed;
  apply_linear(device_, layer.qkv, {x, tower_.n_embd, buffers_.qkv, 3 * inner, n_rows_}, LinearOutput::store,
               RowActivation::none);
  if (n_global_rows_ > 0) project_globally(layer);
  const AttentionShape shape = shape_of(index);
  int64_t global_row = 0;
  for (size_t first = 0; first < inputs_.size();) {
    const size_t end = end_of_group(inputs_, first, n_most_pages_);
    attend_group(inputs_.subspan(first, end - first), shape);
    if (n_global_rows_ > 0)
      global_row = attend_group_globally(inputs_.subspan(first, end - first), global_row);
    first = end;
  }
  add_to_stream(layer.o, buffers_.attention, inner);
}

// The pages of a group's inputs follow each other.
std::vector<SequenceRows> TowerPass::rows_of(std::span<const InputRows> group) const {
  std::vector<SequenceRows> rows;
  int64_t n_pages = 0;
  for (const InputRows& input : group) {
    SequenceRows one{input.first_row, input.n_rows, 0, pages_.data() + n_pages, nullptr};
    one.n_keys = input.n_keys;
    rows.push_back(one);
    n_pages += page_count(input.n_rows);
  }
  return rows;
}

void TowerPass::attend_group(std::span<const InputRows> group, AttentionShape shape) {
  const int64_t inner = tower_.attention_width(), ld = 3 * inner;
  const std::vector<SequenceRows> rows = rows_of(group);
  shape.global_keys = n_global_;
  kernels_.kv_append(device_, rows, shape, buffers_.qkv + inner, buffers_.qkv + 2 * inner, ld);
  kernels_.attention(device_, rows, shape, buffers_.qkv, ld, buffers_.attention, inner);
}

// Queries of global tokens, keys and values for them, of projections of their own.
void TowerPass::project_globally(const EncoderLayer& layer) {
  const int64_t width = tower_.n_embd, inner = tower_.attention_width();
  float* to = buffers_.global_x;
  for (const InputRows& input : inputs_) {
    const int64_t n = input.n_global * width;
    device_.copy(to, buffers_.x + input.first_row * width, static_cast<size_t>(n) * sizeof(float));
    to += n;
  }
  apply_linear(device_, layer.global_q, {buffers_.global_x, width, buffers_.global_q, inner, n_global_rows_},
               LinearOutput::store, RowActivation::none);
  apply_linear(device_, layer.global_kv, {buffers_.x, width, buffers_.global_kv, 2 * inner, n_rows_},
               LinearOutput::store, RowActivation::none);
}

// Replaces what the first tokens of each input got within their windows. Returns the next group's first
// global row.
int64_t TowerPass::attend_group_globally(std::span<const InputRows> group, int64_t global_row) {
  const int64_t inner = tower_.attention_width();
  const AttentionShape shape = open_shape();
  std::vector<SequenceRows> rows = rows_of(group);
  kernels_.kv_append(device_, rows, shape, buffers_.global_kv, buffers_.global_kv + inner, 2 * inner);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].first_row = global_row;
    rows[i].n_rows = group[i].n_global;
    global_row += group[i].n_global;
  }
  kernels_.attention(device_, rows, shape, buffers_.global_q, inner, buffers_.global_y, inner);
  for (size_t i = 0; i < rows.size(); ++i) {
    device_.copy(buffers_.attention + group[i].first_row * inner,
                 buffers_.global_y + rows[i].first_row * inner,
                 static_cast<size_t>(rows[i].n_rows * inner) * sizeof(float));
  }
  return global_row;
}

}  // namespace nanochat
