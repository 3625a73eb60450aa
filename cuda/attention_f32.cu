// Attention of tiles of 64 queries over all keys that they see, for pages of fp32: prompts in fp32.
//
// Floor: 4 * head_dim fp32 operations for each query and key that it sees, on the ordinary cores. Plan: a
// thread has 4 queries by 4 keys of the scores, then 4 queries by a sixteenth of head_dim of the weighted
// sums; what it multiplies comes from shared memory 16 bytes at a time. Keys, then values of a page lie in
// the same place there; another block multiplies while they arrive. Each product is the same chain of
// operations as in attention_general.cu: over head_dim from nothing, then over the page's keys from nothing.
#include <hardware/ptx.h>

#include "attention_kernels.h"
#include "device/launch.h"

namespace nanochat::cuda {

namespace {

constexpr int kQueries = kWideQueries, kThreads = 256;
constexpr int kStride = 68;  // floats: 64, and 4 so that rows begin in different banks

// In floats: queries [head_dim][68], the page's keys or values, scores and weights [64][68], states.
template <int kDims>
struct F32Room {
  static constexpr int kPageAt = kDims * kStride;
  static constexpr int kScoresAt = kPageAt + kDims * kPageKeys;
  static constexpr int kStatesAt = kScoresAt + kQueries * kStride;
  static constexpr size_t kBytes = (kStatesAt + 2 * kQueries) * sizeof(float);
};

// Zeros past head_dim.
template <int kDims>
__device__ __forceinline__ void copy_keys(const std::byte* keys, int head_dim, float* room) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll 4
  for (int i = thread; i < kDims * kPageKeys / 4; i += kThreads) {
    const bool is_there = i / (kPageKeys / 4) < head_dim;
    copy_16(room + 4 * i, is_there ? keys + i * 16 : keys, is_there);
  }
  commit_copies();
}
template <int kDims>
__device__ __forceinline__ void copy_values(const std::byte* values, int head_dim, float* room) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll 4
  for (int i = thread; i < kDims * kPageKeys / 4; i += kThreads) {
    const int row = i / (kDims / 4), at = i % (kDims / 4) * 4;
    const bool is_there = at < head_dim;
    copy_16(room + 4 * i, is_there ? values + (row * head_dim + at) * 4 : values, is_there);
  }
  commit_copies();
}

struct Four {
  float value[4];
};
__device__ __forceinline__ Four four_at(const float* from) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  return {{v.x, v.y, v.z, v.w}};
}

// Scores of queries 4ty.. and keys 4tx.., into shared memory.
template <int kDims>
__device__ __forceinline__ void score_page(const float* queries, const float* keys, float* scores) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  float sums[4][4] = {};
#pragma unroll 8
  for (int at = 0; at < kDims; ++at) {
    const Four q = four_at(queries + at * kStride + 4 * ty), k = four_at(keys + at * kPageKeys + 4 * tx);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[r][i] = fmaf(q.value[r], k.value[i], sums[r][i]);
    }
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    *reinterpret_cast<float4*>(scores + (4 * ty + r) * kStride + 4 * tx) =
        make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
  }
}

// Scores become weights, a warp a query; -1: the query does not see the key.
__device__ __forceinline__ void weigh_page(const AttentionCall& call, const Tile& tile, int32_t kv_head,
                                           int32_t block, float* scores, SoftmaxState* states) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int row = warp; row < kQueries; row += kThreads / kWarp) {
    const Query query = query_of(call, tile, row, kv_head);
    const SeenKeys seen = seen_keys(call, tile, query, block * kPageKeys);
    auto* const own = reinterpret_cast<float2*>(scores + row * kStride) + lane;
    const int key = 2 * lane;
    float2 two = *own;
    two.x = seen.has(key) ? scaled_score(call, query, block * kPageKeys + key, two.x) : -INFINITY;
    two.y = seen.has(key + 1) ? scaled_score(call, query, block * kPageKeys + key + 1, two.y) : -INFINITY;
    const float largest = warp_max(fmaxf(two.x, two.y)), base = finite_base(largest);
    two.x = power_of_two(two.x - base);
    two.y = power_of_two(two.y - base);
    const float sum = warp_sum(two.x + two.y);
    if (lane == 0) states[row] = {largest, sum};
    if (!seen.has(key)) two.x = -1.0F;
    if (!seen.has(key + 1)) two.y = -1.0F;
    *own = two;
  }
}

// Of queries 4ty + r and head_dim 64c + 4tx + i.
template <int kDims>
struct Results {
  float sums[kDims / 64][4][4];
  SoftmaxState state[4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      state[r] = empty_state();
#pragma unroll
      for (int c = 0; c < kDims / 64; ++c)
        sums[c][r][0] = sums[c][r][1] = sums[c][r][2] = sums[c][r][3] = 0.0F;
    }
  }
};

template <int kDims, bool kHides>
__device__ __forceinline__ void multiply_values(const float* weights, const float* values,
                                                Results<kDims>& page) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll 1
  for (int key = 0; key < kPageKeys; key += 4) {
    Four weight[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) weight[r] = four_at(weights + (4 * ty + r) * kStride + key);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < kDims / 64; ++c) {
        const Four value = four_at(values + (key + k) * kDims + 64 * c + 4 * tx);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const float w = weight[r].value[k];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float& sum = page.sums[c][r][i];
            if (!kHides || !(w < 0.0F)) sum = fmaf(w, value.value[i], sum);
          }
        }
      }
    }
  }
}

// As in attention_wide.cu.
template <int kDims>
__device__ __forceinline__ void end_chunk(const AttentionCall& call, const Tile& tile, int32_t kv_head,
                                          bool is_first, bool is_last, SoftmaxState* totals,
                                          Results<kDims>& chunk) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    SoftmaxState total = totals[4 * ty + r];
    const MergeFactors factors = merge(total, chunk.state[r]);
    __syncwarp();  // sixteen lanes have read it
    if (tx == 0) totals[4 * ty + r] = total;
    const float last = is_last ? __frcp_rn(total.sum) : 1.0F;
    if (4 * ty + r >= tile.n_queries) continue;
    float* const y = result_of(call, tile, query_of(call, tile, 4 * ty + r, kv_head));
#pragma unroll
    for (int c = 0; c < kDims / 64; ++c) {
      const int at = 64 * c + 4 * tx;
      if (at >= call.head_dim) continue;
      float values[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        values[i] = merged(is_first ? 0.0F : y[at + i], chunk.sums[c][r][i], factors);
        if (is_last) values[i] *= last;
      }
      store_4(y + at, values, call.y_is_aligned);
    }
  }
  chunk.clear();
}

template <int kDims>
__device__ __forceinline__ void fill_queries(const AttentionCall& call, const Tile& tile, int32_t kv_head,
                                             float* queries) {
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < kQueries; row += kThreads / kWarp) {
    const float* const from = query_values(call, tile, query_of(call, tile, row, kv_head));
    for (int at = static_cast<int>(threadIdx.x) % kWarp; at < kDims; at += kWarp) {
      queries[at * kStride + row] = at < call.head_dim ? from[at] : 0.0F;
    }
  }
}

template <int kDims>
__global__ __launch_bounds__(kThreads, kDims > 128 ? 1 : 2) void attend_f32(const AttentionCall call) {
  using Room = F32Room<kDims>;
  wait_for_earlier_kernels();
  let_next_kernel_start();
  NANOCHAT_LAUNCH_SHARED(float, queries);
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  __shared__ Tile tile;  // registers are for the sums
  __shared__ SeenBlocks seen;
  __shared__ SoftmaxState totals[kQueries];  // of the chunks before
  if (threadIdx.x == 0) {
    tile = tile_of(call, reinterpret_cast<const PlannedTile*>(call.tables + call.tiles_at)[blockIdx.x]);
    seen = seen_by_tile(call, tile, kQueries, kPageKeys);
  }
  if (threadIdx.x < kQueries) totals[threadIdx.x] = empty_state();
  __syncthreads();
  float* const room = queries + Room::kPageAt;
  float* const scores = queries + Room::kScoresAt;
  auto* const states = reinterpret_cast<SoftmaxState*>(queries + Room::kStatesAt);
  const int ty = static_cast<int>(threadIdx.x) / 16;
  fill_queries<kDims>(call, tile, kv_head, queries);
  Results<kDims> chunk;
  chunk.clear();
  bool is_first = true;
  for (int32_t slot = 0; slot < seen.count(); ++slot) {
    const int32_t block = seen.at(slot);
    const std::byte* const bytes = tile.pages[block];
    copy_keys<kDims>(bytes + call.k_at + kv_head * call.k_head_bytes, call.head_dim, room);
    wait_copies<0>();
    __syncthreads();
    score_page<kDims>(queries, room, scores);
    __syncthreads();
    copy_values<kDims>(bytes + call.v_at + kv_head * call.v_head_bytes, call.head_dim, room);
    weigh_page(call, tile, kv_head, block, scores, states);
    wait_copies<0>();
    __syncthreads();
    Results<kDims> page;
    page.clear();
    if (hides_keys(call, tile, kQueries, block)) {
      multiply_values<kDims, true>(scores, room, page);
    } else {
      multiply_values<kDims, false>(scores, room, page);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const MergeFactors factors = merge(chunk.state[r], states[4 * ty + r]);
#pragma unroll
      for (int c = 0; c < kDims / 64; ++c) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          chunk.sums[c][r][i] = merged(chunk.sums[c][r][i], page.sums[c][r][i], factors);
      }
    }
    __syncthreads();  // the values and the states are used up
    const bool is_last = slot + 1 == seen.count();
    if (is_last || seen.at(slot + 1) / kPagesOfChunk != block / kPagesOfChunk) {
      end_chunk<kDims>(call, tile, kv_head, is_first, is_last, totals, chunk);
      is_first = false;
    }
  }
}

const KernelList kKernels{kernel_handle(attend_f32<64>), kernel_handle(attend_f32<128>),
                          kernel_handle(attend_f32<256>)};

}  // namespace

size_t wide_f32_shared_bytes(int64_t head_dim) {
  return head_dim <= 64 ? F32Room<64>::kBytes : head_dim <= 128 ? F32Room<128>::kBytes : F32Room<256>::kBytes;
}

void launch_wide_f32(CudaDevice& device, const AttentionCall& call, int64_t n_tiles) {
  const LaunchShape shape{dim3(static_cast<unsigned>(n_tiles), static_cast<unsigned>(call.n_kv_head)),
                          kThreads, wide_f32_shared_bytes(call.head_dim)};
  if (call.head_dim <= 64) return launch(device, shape, attend_f32<64>, call);
  if (call.head_dim <= 128) return launch(device, shape, attend_f32<128>, call);
  launch(device, shape, attend_f32<256>, call);
}

}  // namespace nanochat::cuda
