// Softmax attention over pages: what runs where, and the merge of what narrow tiles leave.
//
// Tiles of 64 queries visit all their keys (attention_wide.cu; attention_f32.cu for fp32). Few queries are
// cut into chunks of 512 keys, so that one sequence keeps the whole machine busy: attention_narrow.cu on the
// tensor cores, attention_general.cu for fp32 and for every other head_dim. Which one takes a row changes
// nothing in its bits, but for those two kinds: see attention_kernels.h.
//
// Floor of the merge: the pieces' bytes, 2 to 8 % of those of the keys and values that made them.
#include <optional>

#include <hardware/ptx.h>

#include "attention_kernels.h"
#include "device/launch.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

constexpr int kMergeThreads = 128;
constexpr int64_t kMostPieceBytes = int64_t{64} << 20;

__global__ __launch_bounds__(kMergeThreads) void merge_pieces(const AttentionCall call, int64_t first_tile,
                                                              int32_t queries_of_tile) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const auto* const tiles = reinterpret_cast<const PlannedTile*>(call.tables + call.tiles_at) + first_tile;
  const PlannedTile planned = tiles[blockIdx.x];
  const Tile tile = tile_of(call, planned);
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  const int row = static_cast<int>(blockIdx.z);
  if (planned.n_pieces < 2 || row >= min(tile.n_queries, queries_of_tile)) return;
  const int64_t floats = piece_floats(call.most_queries, call.head_dim);
  const int64_t step = call.n_kv_head * floats;
  const float* const pieces = call.pieces + planned.first_piece * step + kv_head * floats;
  float* const y = result_of(call, tile, query_of(call, tile, row, kv_head));
  for (int at = static_cast<int>(threadIdx.x); at < call.head_dim; at += kMergeThreads) {
    const float* const states = pieces + 2 * row;
    const float* const values = pieces + 2 * call.most_queries + row * call.head_dim + at;
    SoftmaxState state = empty_state();
    float value = 0.0F;
#pragma unroll 4
    for (int piece = 0; piece < planned.n_pieces; ++piece) {
      const MergeFactors factors = merge(state, {states[piece * step], states[piece * step + 1]});
      value = merged(value, values[piece * step], factors);
    }
    y[at] = value * __frcp_rn(state.sum);
  }
}

const KernelList kKernels{kernel_handle(merge_pieces)};

enum class Way { fragments, fp32, general };

// The tensor cores' kernels read rows of values in whole pieces of 16 bytes.
Way way_of(const AttentionShape& shape) {
  if (shape.kv_dtype == DType::f32) return Way::fp32;
  const int64_t step = shape.kv_dtype == DType::i8 ? 8 : 4;
  return shape.head_dim <= 256 && shape.head_dim % step == 0 ? Way::fragments : Way::general;
}

TileSizes tile_sizes(const CudaDevice& device, const AttentionShape& shape, Way way) {
  TileSizes sizes{};
  const bool fits =
      way == Way::fragments || (way == Way::fp32 && shape.head_dim <= 256 && shape.head_dim % 4 == 0 &&
                                wide_f32_shared_bytes(shape.head_dim) <= device.limits().block_shared_bytes);
  sizes.wide = fits ? kWideQueries : 0;
  sizes.narrow = way == Way::fragments ? kMostNarrowQueries : kGeneralQueries;
  sizes.piece_bytes = shape.n_kv_head * piece_floats(sizes.narrow, static_cast<int32_t>(shape.head_dim)) * 4;
  sizes.most_bytes = kMostPieceBytes;
  return sizes;
}

AttentionCall call_of(const AttentionShape& shape, const AttentionPlan& plan, const float* q, int64_t ldq,
                      float* y, int64_t ldy) {
  const KvLayout layout = shape.kv_layout();
  const Sight sight = sight_of(shape);
  AttentionCall call{};
  call.q = q;
  call.y = y;
  call.bias = shape.bias;
  call.ldq = ldq;
  call.ldy = ldy;
  call.pages_at = plan.pages_at;
  call.k_at = shape.layer_offset + layout.k_offset(0);
  call.v_at = shape.layer_offset + layout.v_offset(0);
  call.k_scale_at = shape.layer_offset + layout.k_scale_offset(0);
  call.v_scale_at = shape.layer_offset + layout.v_scale_offset(0);
  call.k_head_bytes = layout.k_head_bytes();
  call.v_head_bytes = layout.v_head_bytes();
  call.n_kv_head = static_cast<int32_t>(shape.n_kv_head);
  call.group = static_cast<int32_t>(shape.n_head / shape.n_kv_head);
  call.head_dim = static_cast<int32_t>(shape.head_dim);
  call.most_queries = plan.most_queries;
  call.window_left = sight.window_left;
  call.window_right = sight.window_right;
  call.global_keys = sight.global_keys;
  call.bias_reach = static_cast<int32_t>(shape.bias_reach);
  call.scale = shape.scale * kLog2OfE;
  call.y_is_aligned = reinterpret_cast<uintptr_t>(y) % 16 == 0 && ldy % 4 == 0 && shape.head_dim % 4 == 0;
  return call;
}

void attend_narrowly(CudaDevice& device, AttentionCall call, const AttentionPlan& plan, DType dtype, Way way,
                     int32_t queries_of_tile) {
  call.tiles_at = plan.narrow_at;
  for (const NarrowPass& pass : plan.passes) {
    const int64_t floats = call.n_kv_head * piece_floats(call.most_queries, call.head_dim);
    std::optional<Scratch> pieces;
    if (pass.merges) pieces.emplace(device, static_cast<size_t>(pass.n_pieces * floats) * 4, "attention");
    call.pieces = pass.merges ? pieces->as<float>() : nullptr;
    call.pieces_at = plan.pieces_at + pass.first_piece * static_cast<int64_t>(sizeof(PlannedPiece));
    if (way == Way::fragments) {
      launch_narrow(device, call, dtype, pass.n_pieces);
    } else {
      launch_general(device, call, dtype, pass.n_pieces);
    }
    if (!pass.merges) continue;
    const dim3 grid(static_cast<unsigned>(pass.n_tiles), static_cast<unsigned>(call.n_kv_head),
                    static_cast<unsigned>(call.most_queries));
    launch(device, {grid, kMergeThreads}, merge_pieces, call, pass.first_tile, queries_of_tile);
  }
}

}  // namespace

void attention(Device& any, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* q, int64_t ldq, float* y, int64_t ldy) {
  CudaDevice& device = cuda_device(any);
  const Way way = way_of(shape);
  const TileSizes sizes = tile_sizes(device, shape, way);
  const AttentionPlan plan = plan_attention(sequences, shape, sizes);
  if (plan.n_wide + plan.n_narrow == 0) return;
  AttentionCall call = call_of(shape, plan, q, ldq, y, ldy);
  call.tables = device.stage(std::span<const std::byte>(plan.tables));
  if (plan.n_wide > 0) {
    call.tiles_at = plan.wide_at;
    if (way == Way::fp32) {
      launch_wide_f32(device, call, plan.n_wide);
    } else {
      launch_wide(device, call, shape.kv_dtype, plan.n_wide);
    }
  }
  attend_narrowly(device, call, plan, shape.kv_dtype, way, sizes.narrow);
}

}  // namespace nanochat::cuda
