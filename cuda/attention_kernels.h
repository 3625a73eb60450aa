// What the kernels of attention share: their argument, what a query sees, and the order of operations.
//
// Scores are in the logarithm to base 2: score * scale * log2(e) + bias * log2(e). One query's result is put
// together from states (largest score, sum of weights, weighted sum of values): that of each page is made
// from nothing, those of a chunk of 8 pages are merged in ascending order, then those of the chunks, all by
// the formula of merge(). Pages without keys that the query sees have the empty state, and merging it
// changes no bit, so that it does not matter which of them a kernel visits.
#pragma once

#include <cmath>
#include <cstdint>

#include <cuda_runtime.h>
#include <hardware/ptx.h>

#include "attention_plan.h"
#include "hardware/numbers.h"

namespace nanochat::cuda {

class CudaDevice;

inline constexpr float kLog2OfE = 1.44269504088896340736F;
inline constexpr int kWideQueries = 64;
inline constexpr int kMostNarrowQueries = 16;  // the rows of a matrix fragment
inline constexpr int kGeneralQueries = 8;

// The same for all steps of a generation, as far as it can be: the rest is in the tables.
struct AttentionCall {
  const float* q;
  float* y;
  const float* bias;
  const std::byte* tables;
  float* pieces;  // what narrow tiles leave for the merge: see piece_floats()
  int64_t ldq, ldy;
  int64_t pages_at, tiles_at, pieces_at;             // in the tables
  int64_t k_at, v_at, k_scale_at, v_scale_at;        // in a page, of the first head
  int64_t k_head_bytes, v_head_bytes;                // from one head to the next
  int32_t n_kv_head, group, head_dim, most_queries;  // group: heads that share keys and values
  int32_t window_left, window_right, global_keys, bias_reach;
  float scale;           // times log2(e)
  int32_t y_is_aligned;  // for 16 bytes at a time
};

// Kernels of each kind, in the device's stream. Wide and narrow ones take the head_dim that attention()
// allows.
void launch_wide(CudaDevice& device, const AttentionCall& call, DType dtype, int64_t n_tiles);
void launch_wide_f32(CudaDevice& device, const AttentionCall& call, int64_t n_tiles);
void launch_narrow(CudaDevice& device, const AttentionCall& call, DType dtype, int64_t n_pieces);
void launch_general(CudaDevice& device, const AttentionCall& call, DType dtype, int64_t n_pieces);
size_t wide_f32_shared_bytes(int64_t head_dim);

// A piece leaves for each query its largest score and sum of weights, then its weighted values.
inline __host__ __device__ int64_t piece_floats(int32_t most_queries, int32_t head_dim) {
  return static_cast<int64_t>(most_queries) * (head_dim + 2);
}

// --- of a page, a chunk or all keys ---
struct SoftmaxState {
  float largest, sum;  // -infinity and 0: of no keys
};
__device__ __forceinline__ SoftmaxState empty_state() { return {-INFINITY, 0.0F}; }

// What keeps exp2(x - largest) a number when all x are -infinity.
__device__ __forceinline__ float finite_base(float largest) { return largest == -INFINITY ? 0.0F : largest; }

// old becomes old * of_old + new * of_new by merged(). An empty state's factor is the zero that adds nothing,
// not even to a zero's sign.
struct MergeFactors {
  float of_old, of_new;
};
__device__ __forceinline__ float merged(float old_value, float new_value, const MergeFactors& factors) {
  return fmaf(old_value, factors.of_old, new_value * factors.of_new);
}
__device__ __forceinline__ MergeFactors merge(SoftmaxState& state, const SoftmaxState& next) {
  const float largest = fmaxf(state.largest, next.largest);
  const float base = finite_base(largest);
  const MergeFactors factors{state.sum == 0.0F ? -0.0F : power_of_two(state.largest - base),
                             next.sum == 0.0F ? -0.0F : power_of_two(next.largest - base)};
  state = {largest, merged(state.sum, next.sum, factors)};
  return factors;
}

// --- one tile's view of its sequence ---
__device__ __forceinline__ Sight sight_of_call(const AttentionCall& call) {
  return {call.window_left, call.window_right, call.global_keys};
}

struct Tile {
  PlannedSequence sequence;
  int32_t first_query, n_queries;  // all that the sequence has from there on
  const std::byte* const* pages;
};

__device__ __forceinline__ Tile tile_of(const AttentionCall& call, const PlannedTile& planned) {
  const PlannedSequence s = reinterpret_cast<const PlannedSequence*>(call.tables)[planned.sequence];
  return {s, planned.first_query, s.n_rows * call.group - planned.first_query,
          reinterpret_cast<const std::byte* const*>(call.tables + call.pages_at) + s.first_page};
}

// A query of a tile. Those past the tile's last are that one again, and are not written.
struct Query {
  int32_t position, head;
};
__device__ __forceinline__ Query query_of(const AttentionCall& call, const Tile& tile, int32_t index,
                                          int32_t kv_head) {
  const int32_t number = tile.first_query + min(index, tile.n_queries - 1);
  return {tile.sequence.position + number / call.group, kv_head * call.group + number % call.group};
}
__device__ __forceinline__ const float* query_values(const AttentionCall& call, const Tile& tile,
                                                     const Query& query) {
  const int64_t row = tile.sequence.first_row + query.position - tile.sequence.position;
  return call.q + row * call.ldq + static_cast<int64_t>(query.head) * call.head_dim;
}
__device__ __forceinline__ float* result_of(const AttentionCall& call, const Tile& tile, const Query& query) {
  const int64_t row = tile.sequence.first_row + query.position - tile.sequence.position;
  return call.y + row * call.ldy + static_cast<int64_t>(query.head) * call.head_dim;
}

// Of a tile's queries together. `most` is how many a tile can have.
__device__ __forceinline__ SeenBlocks seen_by_tile(const AttentionCall& call, const Tile& tile, int32_t most,
                                                   int32_t block_keys) {
  const int32_t last = tile.first_query + min(most, tile.n_queries) - 1;
  const int32_t position = tile.sequence.position;
  return seen_blocks(sight_of_call(call), position + tile.first_query / call.group,
                     position + last / call.group, tile.sequence.n_keys, block_keys);
}

// Whether some query of the tile does not see some key of the page: else nothing need be hidden.
__device__ __forceinline__ bool hides_keys(const AttentionCall& call, const Tile& tile, int32_t most,
                                           int32_t page) {
  const Sight sight = sight_of_call(call);
  const int32_t n_keys = tile.sequence.n_keys, begin = page * kPageKeys, end = begin + kPageKeys;
  if (end <= sight.globals_end(n_keys)) return false;
  const int32_t last = tile.first_query + min(most, tile.n_queries) - 1;
  const int32_t first_position = tile.sequence.position + tile.first_query / call.group;
  const int32_t last_position = tile.sequence.position + last / call.group;
  return begin < sight.first_key(last_position) || end > sight.end_key(first_position, n_keys);
}

// The keys that a query sees, relative to the first of a page: first..end-1 and 0..globals-1.
struct SeenKeys {
  int32_t first, end, globals;
  __device__ __forceinline__ bool has(int32_t key) const {
    return (key >= first && key < end) || key < globals;
  }
};
__device__ __forceinline__ SeenKeys seen_keys(const AttentionCall& call, const Tile& tile, const Query& query,
                                              int32_t first_key) {
  const Sight sight = sight_of_call(call);
  const int32_t n_keys = tile.sequence.n_keys;
  return {sight.first_key(query.position) - first_key, sight.end_key(query.position, n_keys) - first_key,
          sight.globals_end(n_keys) - first_key};
}

// What is added to the score of a key, times log2(e).
__device__ __forceinline__ float bias_of(const AttentionCall& call, const Query& query, int32_t key) {
  const int32_t reach = call.bias_reach, distance = min(max(key - query.position, -reach), reach);
  const int64_t row = static_cast<int64_t>(query.head) * (2 * static_cast<int64_t>(reach) + 1);
  return __ldg(call.bias + row + reach + distance) * kLog2OfE;
}

__device__ __forceinline__ float scaled_score(const AttentionCall& call, const Query& query, int32_t key,
                                              float product) {
  if (call.bias == nullptr) return product * call.scale;
  return fmaf(product, call.scale, bias_of(call, query, key));
}

__device__ __forceinline__ void store_4(float* to, const float (&values)[4], int32_t is_aligned) {
  if (is_aligned != 0) {
    *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = values[i];
}

// The end of a piece, by all threads of a block: merges the states of its pages for `width` of head_dim from
// `first` on. states: [8 pages][state_stride]; sums: [8 pages][n_queries][sum_stride], read where a state is
// not empty. If the tile has no other piece the result goes right to y: merged with the empty state, as
// merge_pieces() begins, it would have the same bits.
__device__ __forceinline__ void merge_pages(const AttentionCall& call, const Tile& tile,
                                            const PlannedTile& planned, const PlannedPiece& piece,
                                            int n_queries, int first, int width, int sum_stride,
                                            const SoftmaxState* states, int state_stride, const float* sums) {
  const int n_left = min(width, call.head_dim - first);
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  for (int i = static_cast<int>(threadIdx.x); i < n_queries * width; i += static_cast<int>(blockDim.x)) {
    const int row = i / width, at = i % width;
    if (at >= n_left) continue;
    SoftmaxState state = empty_state();
    float value = 0.0F;
    for (int page = 0; page < kPagesOfChunk; ++page) {
      const SoftmaxState next = states[page * state_stride + row];
      if (next.sum == 0.0F) continue;
      const MergeFactors factors = merge(state, next);
      value = merged(value, sums[(page * n_queries + row) * sum_stride + at], factors);
    }
    if (planned.n_pieces == 1) {
      result_of(call, tile, query_of(call, tile, row, kv_head))[first + at] = value * __frcp_rn(state.sum);
      continue;
    }
    float* const to =
        call.pieces + (static_cast<int64_t>(planned.first_piece + piece.slot) * call.n_kv_head + kv_head) *
                          piece_floats(call.most_queries, call.head_dim);
    to[2 * call.most_queries + row * call.head_dim + first + at] = value;
    if (first + at == 0) to[2 * row] = state.largest, to[2 * row + 1] = state.sum;
  }
}

}  // namespace nanochat::cuda
