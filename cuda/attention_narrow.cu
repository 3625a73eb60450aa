// Attention of tiles of at most 16 queries over one chunk of 8 pages, for pages of bf16 and int8: generation.
//
// Floor: the bytes of the keys and values, read once for all queries of a key-value head. Plan: a warp a
// page, which it reads from memory right into the fragments of the tensor cores, 16 bytes a lane, each
// 128-byte line whole; no shared memory and no barrier until the end, where the 8 states are merged. With 256
// threads and two blocks on a multiprocessor, more than 60 KiB of loads are in flight there: twice what 4.3
// TB/s need.
#include <hardware/ptx.h>

#include "attention_fragments.h"
#include "attention_kernels.h"
#include "device/launch.h"

namespace nanochat::cuda {

namespace {

constexpr int kThreads = kPagesOfChunk * kWarp;

// What a lane reads of a page's keys at one step of 16 of head_dim: pairs 8 * step + t and + 4, keys 8g to 8g
// + 7.
template <bool kInt8>
struct KeyLoads {
  uint4 low[kInt8 ? 1 : 2], high[kInt8 ? 1 : 2];

  __device__ __forceinline__ void load(const std::byte* keys, int head_dim, int step) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, pair = 8 * step + lane % 4;
    const uint4 zero = make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < (kInt8 ? 1 : 2); ++i) {
      const std::byte* const at = keys + (kInt8 ? pair * 128 + g * 16 : pair * 256 + g * 32 + i * 16);
      low[i] = 2 * pair < head_dim ? load_once(at) : zero;
      high[i] = 2 * (pair + 4) < head_dim ? load_once(at + (kInt8 ? 512 : 1024)) : zero;
    }
  }
  __device__ __forceinline__ void add(const uint32_t (&a)[4], float (&scores)[8][4]) const {
    if constexpr (kInt8) {
      const Words4 lows[2] = {widen_pairs(low[0].x, low[0].y), widen_pairs(low[0].z, low[0].w)};
      const Words4 highs[2] = {widen_pairs(high[0].x, high[0].y), widen_pairs(high[0].z, high[0].w)};
      add_scores(scores, a, lows, highs);
    } else {
      const Words4 lows[2] = {words_of(low[0]), words_of(low[1])};
      const Words4 highs[2] = {words_of(high[0]), words_of(high[1])};
      add_scores(scores, a, lows, highs);
    }
  }
};

template <int kDims, bool kInt8>
__device__ __forceinline__ void score_page(const AttentionCall& call, const std::byte* keys,
                                           const uint4* queries, float (&scores)[8][4]) {
  constexpr int kSteps = kDims / 16, kAhead = kInt8 ? 4 : 2;
  queries += threadIdx.x % kWarp;
#pragma unroll
  for (int n = 0; n < 8; ++n) scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0F;
  KeyLoads<kInt8> loads[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) loads[i].load(keys, call.head_dim, i);
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const uint4 v = queries[step * kWarp];
    const uint32_t a[4] = {v.x, v.y, v.z, v.w};
    loads[step % kAhead].add(a, scores);
    if (step + kAhead < kSteps) loads[step % kAhead].load(keys, call.head_dim, step + kAhead);
  }
}

// Columns 32q + 4g to + 3 of pairs 8t to 8t + 7.
template <bool kInt8>
__device__ __forceinline__ void load_values(const std::byte* values, int head_dim, int q, PageValues& own) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, column = 32 * q + lane / 4 * 4;
  const bool is_there = column < head_dim;
  const std::byte* const from =
      values + (static_cast<int64_t>(lane % 4) * 8 * head_dim + column) * (kInt8 ? 2 : 4);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if constexpr (kInt8) {
      const auto* const at = reinterpret_cast<const uint2*>(from + i * head_dim * 2);
      const uint2 two = is_there ? *at : make_uint2(0, 0);
      own.pairs[i] = widen_pairs(two.x, two.y);
    } else {
      own.pairs[i] = words_of(is_there ? load_once(from + i * head_dim * 4) : make_uint4(0, 0, 0, 0));
    }
  }
}

// What the pages leave for the merge: 128 of head_dim at a time.
template <int kDims>
struct NarrowRoom {
  static constexpr int kWidth = kDims < 128 ? kDims : 128;
  static constexpr int kStride = kWidth + 4;  // so that eight lanes' 16 bytes meet no bank twice
  static constexpr int kQueryBytes = kDims / 16 * kWarp * 16;
  static size_t bytes(int32_t most_queries) {
    return kQueryBytes + static_cast<size_t>(kPagesOfChunk) * most_queries * kStride * 4;
  }
};

template <int kWidth>
__device__ __forceinline__ void store_sums(const float (&sums)[4][4], int q, int n_queries,
                                           float* sums_of_page) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (g + 8 * r >= n_queries) continue;
    float* const to = sums_of_page + (g + 8 * r) * (kWidth + 4) + 32 * q + 8 * t;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = 2 * r + half;
      *reinterpret_cast<float4*>(to + 4 * half) = make_float4(sums[0][i], sums[1][i], sums[2][i], sums[3][i]);
    }
  }
}

// `part`: of head_dim, kWidth each.
template <int kWidth, bool kInt8>
__device__ __forceinline__ void multiply_part(const AttentionCall& call, const PageWeights& page,
                                              const std::byte* values, bool hides, int part, int n_queries,
                                              float* sums_of_page) {
  constexpr int kGroups = kWidth / 32;
  uint32_t special_seen = 0;
#pragma unroll 2
  for (int q = 0; q < kGroups; ++q) {
    PageValues own;
    load_values<kInt8>(values, call.head_dim, part * kGroups + q, own);
    if (!kInt8) {
#pragma unroll
      for (int i = 0; i < 8; ++i) special_seen |= special_bits(own.pairs[i]);
    }
    float sums[4][4];
    multiply_values(page.weights, own, sums);
    store_sums<kWidth>(sums, q, n_queries, sums_of_page);
  }
  if (kInt8 || !hides || !__any_sync(kWholeWarp, special_seen != 0)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int tile = 0; tile < kWidth / 8;
       ++tile) {  // once more, in a page of which some query does not see all
    const int at = 32 * (tile / 4) + 4 * g + tile % 4, column = part * kWidth + at;
    uint32_t words[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int64_t word = static_cast<int64_t>(8 * t + i) * call.head_dim + column;
      words[i] = column < call.head_dim ? reinterpret_cast<const uint32_t*>(values)[word] : 0U;
    }
    float sums[4], special[4];
    multiply_special(page, words, sums, special);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = g + i / 2 * 8, to = 32 * (tile / 4) + 8 * t + i % 2 * 4 + tile % 4;
      if (row < n_queries) sums_of_page[row * (kWidth + 4) + to] = sums[i] + special[i];
    }
  }
}

template <int kDims, bool kInt8>
__global__ __launch_bounds__(kThreads, kDims > 128 ? 1 : 2) void attend_narrow(const AttentionCall call) {
  using Room = NarrowRoom<kDims>;
  __shared__ SoftmaxState states[kPagesOfChunk][kMostNarrowQueries];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  NANOCHAT_LAUNCH_SHARED(uint4, fragments);
  const PlannedPiece piece = reinterpret_cast<const PlannedPiece*>(call.tables + call.pieces_at)[blockIdx.x];
  if (piece.tile < 0) return;
  __shared__ PlannedTile planned;
  __shared__ Tile tile;
  if (threadIdx.x == 0) {
    planned = reinterpret_cast<const PlannedTile*>(call.tables + call.tiles_at)[piece.tile];
    tile = tile_of(call, planned);
  }
  __syncthreads();
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  const int n_queries = min(tile.n_queries, kMostNarrowQueries);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const Query queries[2] = {query_of(call, tile, lane / 4, kv_head),
                            query_of(call, tile, lane / 4 + 8, kv_head)};
  const float* const rows[2] = {query_values(call, tile, queries[0]), query_values(call, tile, queries[1])};
  for (int step = warp; step < kDims / 16; step += kPagesOfChunk) {
    uint32_t a[4];
    load_queries(call, rows, step, a);
    fragments[step * kWarp + lane] = make_uint4(a[0], a[1], a[2], a[3]);
  }
  __syncthreads();

  const int32_t chunk = seen_by_tile(call, tile, kMostNarrowQueries, kChunkKeys).at(piece.slot);
  const int32_t block = chunk * kPagesOfChunk + warp;
  const bool is_seen = seen_by_tile(call, tile, kMostNarrowQueries, kPageKeys).has(block);
  const bool hides = hides_keys(call, tile, kMostNarrowQueries, block);
  const std::byte* values = nullptr;
  PageWeights page;
  if (is_seen) {
    const std::byte* const bytes = tile.pages[block];
    const auto* const k_scales =
        reinterpret_cast<const float*>(bytes + call.k_scale_at) + kv_head * kPageKeys;
    const auto* const v_scales =
        reinterpret_cast<const float*>(bytes + call.v_scale_at) + kv_head * kPageKeys;
    float scores[8][4];
    score_page<kDims, kInt8>(call, bytes + call.k_at + kv_head * call.k_head_bytes, fragments, scores);
    weigh_page<kInt8>(call, tile, queries, block, hides, k_scales, v_scales, scores, page);
    values = bytes + call.v_at + kv_head * call.v_head_bytes;
  } else {
    page.state[0] = page.state[1] = empty_state();
  }
  if (lane % 4 == 0) {
    states[warp][lane / 4] = page.state[0];
    states[warp][lane / 4 + 8] = page.state[1];
  }
  auto* const sums = reinterpret_cast<float*>(fragments) + Room::kQueryBytes / 4;
  const int page_floats = n_queries * Room::kStride;
#pragma unroll 1
  for (int part = 0; part < kDims / Room::kWidth; ++part) {
    if (is_seen) {
      multiply_part<Room::kWidth, kInt8>(call, page, values, hides, part, n_queries,
                                         sums + warp * page_floats);
    }
    __syncthreads();
    merge_pages(call, tile, planned, piece, n_queries, part * Room::kWidth, Room::kWidth, Room::kStride,
                &states[0][0], kMostNarrowQueries, sums);
    __syncthreads();
  }
}

template <bool kInt8>
void launch_narrow_of(CudaDevice& device, const AttentionCall& call, int64_t n_pieces) {
  const dim3 grid(static_cast<unsigned>(n_pieces), static_cast<unsigned>(call.n_kv_head));
  if (call.head_dim <= 64) {
    launch(device, {grid, kThreads, NarrowRoom<64>::bytes(call.most_queries)}, attend_narrow<64, kInt8>,
           call);
  } else if (call.head_dim <= 128) {
    launch(device, {grid, kThreads, NarrowRoom<128>::bytes(call.most_queries)}, attend_narrow<128, kInt8>,
           call);
  } else {
    launch(device, {grid, kThreads, NarrowRoom<256>::bytes(call.most_queries)}, attend_narrow<256, kInt8>,
           call);
  }
}

const KernelList kKernels{kernel_handle(attend_narrow<64, false>),  kernel_handle(attend_narrow<128, false>),
                          kernel_handle(attend_narrow<256, false>), kernel_handle(attend_narrow<64, true>),
                          kernel_handle(attend_narrow<128, true>),  kernel_handle(attend_narrow<256, true>)};

}  // namespace

void launch_narrow(CudaDevice& device, const AttentionCall& call, DType dtype, int64_t n_pieces) {
  if (dtype == DType::i8) {
    launch_narrow_of<true>(device, call, n_pieces);
  } else {
    launch_narrow_of<false>(device, call, n_pieces);
  }
}

}  // namespace nanochat::cuda
