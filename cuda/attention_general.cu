// Attention of tiles of at most 8 queries over one chunk of 8 pages, in fp32 on the ordinary cores: pages of
// fp32, and every head_dim that the tensor cores' kernels do not take.
//
// Floor: the bytes of keys and values, once for the tile's queries. Plan: a warp a page. A lane has the
// scores of two keys, a chain over head_dim each; then of four places in head_dim the weighted sums, a chain
// over the page's keys each. Loads are whole lines of the page. The states of the pages are merged at the
// end. For int8 and bf16 queries are rounded to bf16 as elsewhere, weights are not.
#include <hardware/ptx.h>

#include "attention_kernels.h"
#include "base/error.h"
#include "device/launch.h"

namespace nanochat::cuda {

namespace {

constexpr int kThreads = kPagesOfChunk * kWarp;
constexpr int kWidth = 128;  // of head_dim at a time

// Queries as [head_dim, rounded up to even][8], weights as [8 pages][64][8], sums as [8 pages][queries][128].
struct GeneralRoom {
  static constexpr int kWeightFloats = kPagesOfChunk * kPageKeys * kGeneralQueries;
  __host__ __device__ static int query_floats(int head_dim) {
    return (head_dim + 1) / 2 * 2 * kGeneralQueries;
  }
  static size_t bytes(int head_dim, int32_t most_queries) {
    return sizeof(float) * (static_cast<size_t>(query_floats(head_dim)) + kWeightFloats +
                            static_cast<size_t>(kPagesOfChunk) * most_queries * kWidth);
  }
};

struct Eight {
  float value[kGeneralQueries];
};
__device__ __forceinline__ Eight eight_at(const float* from) {
  const auto* const v = reinterpret_cast<const float4*>(from);
  const float4 a = v[0], b = v[1];
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

__device__ __forceinline__ float low_value(DType dtype, uint32_t word) {
  return dtype == DType::bf16 ? float_of_bf16(word & 0xffffU)
                              : static_cast<float>(static_cast<int8_t>(word & 0xffU));
}
__device__ __forceinline__ float high_value(DType dtype, uint32_t word) {
  return dtype == DType::bf16 ? float_of_bf16(word >> 16)
                              : static_cast<float>(static_cast<int8_t>((word >> 8) & 0xffU));
}

// scores[i]: of key 2 * lane + i.
template <DType kType>
__device__ __forceinline__ void score_page(const std::byte* keys, const float* queries, int head_dim,
                                           float (&scores)[2][kGeneralQueries]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int r = 0; r < kGeneralQueries; ++r) scores[0][r] = scores[1][r] = 0.0F;
  const auto add = [&](int at, float first, float second) {
    const Eight q = eight_at(queries + at * kGeneralQueries);
#pragma unroll
    for (int r = 0; r < kGeneralQueries; ++r) {
      scores[0][r] = fmaf(q.value[r], first, scores[0][r]);
      scores[1][r] = fmaf(q.value[r], second, scores[1][r]);
    }
  };
  if constexpr (kType == DType::f32) {
    const float2* const own = reinterpret_cast<const float2*>(keys) + lane;
#pragma unroll 8
    for (int at = 0; at < head_dim; ++at) {
      const float2 two = own[at * (kPageKeys / 2)];
      add(at, two.x, two.y);
    }
  } else {
#pragma unroll 4
    for (int pair = 0; pair < (head_dim + 1) / 2; ++pair) {
      uint2 words;
      if constexpr (kType == DType::bf16) {
        words = reinterpret_cast<const uint2*>(keys)[pair * (kPageKeys / 2) + lane];
      } else {
        const uint32_t both = reinterpret_cast<const uint32_t*>(keys)[pair * (kPageKeys / 2) + lane];
        words = make_uint2(both & 0xffffU, both >> 16);
      }
      add(2 * pair, low_value(kType, words.x), low_value(kType, words.y));
      add(2 * pair + 1, high_value(kType, words.x), high_value(kType, words.y));
    }
  }
}

// Scores become weights in shared memory, [64][8]; -1: the query does not see the key.
template <DType kType>
__device__ __forceinline__ void weigh_page(const AttentionCall& call, const Tile& tile, int32_t kv_head,
                                           int32_t block, const float* key_scales, const float* value_scales,
                                           float (&scores)[2][kGeneralQueries], float* weights,
                                           SoftmaxState* states) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int r = 0; r < kGeneralQueries; ++r) {
    const Query query = query_of(call, tile, r, kv_head);
    const SeenKeys seen = seen_keys(call, tile, query, block * kPageKeys);
    bool sees[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int key = 2 * lane + i;
      if (kType == DType::i8) scores[i][r] *= key_scales[key];
      scores[i][r] = scaled_score(call, query, block * kPageKeys + key, scores[i][r]);
      sees[i] = seen.has(key);
      if (!sees[i]) scores[i][r] = -INFINITY;
    }
    const float largest = warp_max(fmaxf(scores[0][r], scores[1][r]));
    const float base = finite_base(largest);
#pragma unroll
    for (int i = 0; i < 2; ++i) scores[i][r] = power_of_two(scores[i][r] - base);
    const float sum = warp_sum(scores[0][r] + scores[1][r]);
    if (lane == 0) states[r] = {largest, sum};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (kType == DType::i8) scores[i][r] *= value_scales[2 * lane + i];
      if (!sees[i]) scores[i][r] = -1.0F;
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    auto* const to = reinterpret_cast<float4*>(weights + (2 * lane + i) * kGeneralQueries);
    to[0] = make_float4(scores[i][0], scores[i][1], scores[i][2], scores[i][3]);
    to[1] = make_float4(scores[i][4], scores[i][5], scores[i][6], scores[i][7]);
  }
}

template <bool kHides>
__device__ __forceinline__ float weighed(float weight, float value, float sum) {
  return kHides && weight < 0.0F ? sum : fmaf(weight, value, sum);
}

// sums[c]: of head_dim first + lane + 32c.
template <DType kType, bool kHides>
__device__ __forceinline__ void multiply_values(const std::byte* values, const float* weights, int head_dim,
                                                int first, float (&sums)[4][kGeneralQueries]) {
  const int own = first + static_cast<int>(threadIdx.x) % kWarp;
  constexpr int kKeysOfWord = kType == DType::f32 ? 1 : 2;
#pragma unroll 4
  for (int word = 0; word < kPageKeys / kKeysOfWord; ++word) {
    uint32_t row[4];
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int at = word * head_dim + own + 32 * c;
      const bool is_there = own + 32 * c < head_dim;
      if constexpr (kType == DType::i8) {
        row[c] = is_there ? reinterpret_cast<const uint16_t*>(values)[at] : 0U;
      } else {
        row[c] = is_there ? reinterpret_cast<const uint32_t*>(values)[at] : 0U;
      }
    }
#pragma unroll
    for (int half = 0; half < kKeysOfWord; ++half) {
      const Eight weight = eight_at(weights + (word * kKeysOfWord + half) * kGeneralQueries);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float value = kType == DType::f32 ? __uint_as_float(row[c])
                            : half == 0         ? low_value(kType, row[c])
                                                : high_value(kType, row[c]);
#pragma unroll
        for (int r = 0; r < kGeneralQueries; ++r)
          sums[c][r] = weighed<kHides>(weight.value[r], value, sums[c][r]);
      }
    }
  }
}

template <DType kType>
__device__ __forceinline__ void fill_queries(const AttentionCall& call, const Tile& tile, int32_t kv_head,
                                             float* queries) {
  for (int r = 0; r < kGeneralQueries; ++r) {
    const float* const row = query_values(call, tile, query_of(call, tile, r, kv_head));
    for (int at = static_cast<int>(threadIdx.x); at < (call.head_dim + 1) / 2 * 2; at += kThreads) {
      float value = at < call.head_dim ? row[at] : 0.0F;
      if (kType != DType::f32) value = float_of_bf16(bf16_of_float(value));
      queries[at * kGeneralQueries + r] = value;
    }
  }
}

template <DType kType>
__global__ __launch_bounds__(kThreads, 2) void attend_general(const AttentionCall call) {
  __shared__ SoftmaxState states[kPagesOfChunk][kGeneralQueries];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  NANOCHAT_LAUNCH_SHARED(float, queries);
  const PlannedPiece piece = reinterpret_cast<const PlannedPiece*>(call.tables + call.pieces_at)[blockIdx.x];
  if (piece.tile < 0) return;
  const PlannedTile planned = reinterpret_cast<const PlannedTile*>(call.tables + call.tiles_at)[piece.tile];
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  const Tile tile = tile_of(call, planned);
  const int n_queries = min(tile.n_queries, kGeneralQueries);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  float* const weights =
      queries + GeneralRoom::query_floats(call.head_dim) + warp * kPageKeys * kGeneralQueries;
  float* const sums = queries + GeneralRoom::query_floats(call.head_dim) + GeneralRoom::kWeightFloats;
  fill_queries<kType>(call, tile, kv_head, queries);
  __syncthreads();

  const int32_t chunk = seen_by_tile(call, tile, kGeneralQueries, kChunkKeys).at(piece.slot);
  const int32_t block = chunk * kPagesOfChunk + warp;
  const bool is_seen = seen_by_tile(call, tile, kGeneralQueries, kPageKeys).has(block);
  const bool hides = hides_keys(call, tile, kGeneralQueries, block);
  if (is_seen) {
    const std::byte* const bytes = tile.pages[block];
    const auto* const k_scales =
        reinterpret_cast<const float*>(bytes + call.k_scale_at) + kv_head * kPageKeys;
    const auto* const v_scales =
        reinterpret_cast<const float*>(bytes + call.v_scale_at) + kv_head * kPageKeys;
    float scores[2][kGeneralQueries];
    score_page<kType>(bytes + call.k_at + kv_head * call.k_head_bytes, queries, call.head_dim, scores);
    weigh_page<kType>(call, tile, kv_head, block, k_scales, v_scales, scores, weights, states[warp]);
    __syncwarp();
  } else if (lane < kGeneralQueries) {
    states[warp][lane] = empty_state();
  }
  for (int first = 0; first < call.head_dim; first += kWidth) {
    if (is_seen) {
      const std::byte* const values = tile.pages[block] + call.v_at + kv_head * call.v_head_bytes;
      float own[4][kGeneralQueries] = {};
      if (hides) {
        multiply_values<kType, true>(values, weights, call.head_dim, first, own);
      } else {
        multiply_values<kType, false>(values, weights, call.head_dim, first, own);
      }
#pragma unroll
      for (int r = 0; r < kGeneralQueries; ++r) {
        if (r >= n_queries) break;
#pragma unroll
        for (int c = 0; c < 4; ++c) sums[(warp * n_queries + r) * kWidth + lane + 32 * c] = own[c][r];
      }
    }
    __syncthreads();
    merge_pages(call, tile, planned, piece, n_queries, first, kWidth, kWidth, &states[0][0], kGeneralQueries,
                sums);
    __syncthreads();
  }
}

const KernelList kKernels{kernel_handle(attend_general<DType::f32>),
                          kernel_handle(attend_general<DType::bf16>),
                          kernel_handle(attend_general<DType::i8>)};

}  // namespace

void launch_general(CudaDevice& device, const AttentionCall& call, DType dtype, int64_t n_pieces) {
  const size_t shared_bytes = GeneralRoom::bytes(call.head_dim, call.most_queries);
  if (shared_bytes > device.limits().block_shared_bytes) {
    throw Error(Status::unsupported)
        .subject(device.name())
        .say(
            "attention with a head_dim of {}: one block would need {} bytes of shared memory, this GPU has "
            "{}",
            call.head_dim, shared_bytes, device.limits().block_shared_bytes);
  }
  const LaunchShape shape{dim3(static_cast<unsigned>(n_pieces), static_cast<unsigned>(call.n_kv_head)),
                          kThreads, shared_bytes};
  if (dtype == DType::f32) return launch(device, shape, attend_general<DType::f32>, call);
  if (dtype == DType::bf16) return launch(device, shape, attend_general<DType::bf16>, call);
  launch(device, shape, attend_general<DType::i8>, call);
}

}  // namespace nanochat::cuda
