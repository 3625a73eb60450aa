// Attention of tiles of 64 queries over all keys that they see, for pages of bf16 and int8: prompts,
// encoders.
//
// Floor: 4 * head_dim operations of the tensor cores for each query and key that it sees; keys and values of
// a page come out of the second-level cache once for 64 queries. Plan: 4 warps of 16 queries; pages through
// copy_16() into shared memory, the next one's while this one is multiplied (up to head_dim 128; beyond, keys
// of the next page while values of this one are, and the other way round); what a lane reads there follows
// each other, and rows are so twisted that eight lanes meet no bank twice. Int8 arrives as it is and is
// widened once for all warps. At the end of each chunk but the last, the state of the chunks so far waits in
// y: 1/8 of the pages cost 64 KiB of traffic more, all of it in the second-level cache.
#include <hardware/ptx.h>

#include "attention_fragments.h"
#include "attention_kernels.h"
#include "device/launch.h"

namespace nanochat::cuda {

namespace {

constexpr int kQueries = kWideQueries, kThreads = 128;

// Of a tile in shared memory, in pieces of 16 bytes; both kinds of pairs of a page take as much.
template <int kDims>
struct PageRoom {
  static constexpr int kPieces = kDims * 8;
  static constexpr int kValuePieces = kDims / 4;  // of a row of values
};

// Where piece `piece` of a row of keys or of values is put: see attention_fragments.h for what reads it.
__device__ __forceinline__ int key_place(int row, int piece) {
  return row * 16 + (piece ^ ((row & 1) | ((row & 2) << 1)));
}
template <int kDims>
__device__ __forceinline__ int value_place(int row, int piece) {
  return row * PageRoom<kDims>::kValuePieces + (piece ^ ((row >> 2) & 6));
}

// Copies of a page's keys (pairs of head_dim, 64 keys each) or values (pairs of keys): zeros past head_dim.
template <int kDims>
__device__ __forceinline__ void copy_keys(const std::byte* keys, int head_dim, uint4* room) {
  const int thread = static_cast<int>(threadIdx.x), row = thread / 16;
  const std::byte* const from = keys + thread * 16;
  uint4* const to = room + key_place(row, thread % 16);
#pragma unroll
  for (int i = 0; i < kDims / 16; ++i) {
    const bool is_there = 2 * (row + 8 * i) < head_dim;
    copy_16(to + i * kThreads, is_there ? from + i * kThreads * 16 : keys, is_there);
  }
}
template <int kDims>
__device__ __forceinline__ void copy_values(const std::byte* values, int head_dim, uint4* room) {
  constexpr int kRow = PageRoom<kDims>::kValuePieces, kRows = kThreads / kRow;  // at a time: 2 to 8
  const int thread = static_cast<int>(threadIdx.x), row = thread / kRow, piece = thread % kRow;
  const bool is_there = 4 * piece < head_dim;
  const std::byte* const from = is_there ? values + (row * head_dim + 4 * piece) * 4 : values;
  const int step = is_there ? kRows * head_dim * 4 : 0;
#pragma unroll
  for (int i = 0; i < kDims / 16; ++i) {
    const int twist = (kRows * i / 8 * 2) & 6;  // that of row + kRows * i
    copy_16(room + row * kRow + i * kThreads + (piece ^ twist), from + i * step, is_there);
  }
}

// Of int8: half of that, each row's pieces in their order.
template <int kDims>
__device__ __forceinline__ void copy_int8_keys(const std::byte* keys, const std::byte* scales, int head_dim,
                                               uint4* raw, float* scale_room) {
  const int thread = static_cast<int>(threadIdx.x), row = thread / 8;
#pragma unroll
  for (int i = 0; i < kDims / 32; ++i) {
    const bool is_there = 2 * (row + 16 * i) < head_dim;
    copy_16(raw + thread + i * kThreads, is_there ? keys + (thread + i * kThreads) * 16 : keys, is_there);
  }
  if (thread < 16) copy_16(scale_room + 4 * thread, scales + 16 * thread);
}
template <int kDims>
__device__ __forceinline__ void copy_int8_values(const std::byte* values, const std::byte* scales,
                                                 int head_dim, uint4* raw, float* scale_room) {
  constexpr int kRow = PageRoom<kDims>::kValuePieces / 2, kRows = kThreads / kRow;
  const int thread = static_cast<int>(threadIdx.x), row = thread / kRow, piece = thread % kRow;
  const bool is_there = 8 * piece < head_dim;
  const std::byte* const from = is_there ? values + (row * head_dim + 8 * piece) * 2 : values;
  const int step = is_there ? kRows * head_dim * 2 : 0;
#pragma unroll
  for (int i = 0; i < kDims / 32; ++i) copy_16(raw + thread + i * kThreads, from + i * step, is_there);
  if (thread < 16) copy_16(scale_room + 4 * thread, scales + 16 * thread);
}

__device__ __forceinline__ uint4 as_vector(const Words4& w) {
  return make_uint4(w.word[0], w.word[1], w.word[2], w.word[3]);
}
template <int kDims, bool kKeys>
__device__ __forceinline__ void widen_page(const uint4* raw, uint4* room) {
  constexpr int kRow = kKeys ? 8 : PageRoom<kDims>::kValuePieces / 2;
#pragma unroll 2
  for (int i = 0; i < kDims / 32; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * kThreads;
    const int row = at / kRow, piece = 2 * (at % kRow);
    const int place = kKeys ? key_place(row, piece) : value_place<kDims>(row, piece);
    const uint4 from = raw[at];
    room[place] = as_vector(widen_pairs(from.x, from.y));
    room[place ^ 1] = as_vector(widen_pairs(from.z, from.w));
  }
}

// The queries' fragments: in registers, or where those are too few, in shared memory.
template <int kDims>
struct QueryFragments {
  static constexpr bool kShared = kDims > 128;
  static constexpr int kSteps = kDims / 16;
  uint32_t own[kShared ? 1 : kSteps][4];
  uint4* room;  // of this lane: step after step, kWarp apart

  __device__ __forceinline__ void load(const AttentionCall& call, const float* const (&rows)[2],
                                       uint4* shared) {
    if constexpr (kShared) {
      room = shared + (threadIdx.x / kWarp) * kSteps * kWarp + threadIdx.x % kWarp;
      for (int step = 0; step < kSteps; ++step) {
        uint32_t a[4];
        load_queries(call, rows, step, a);
        room[step * kWarp] = make_uint4(a[0], a[1], a[2], a[3]);
      }
    } else {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) load_queries(call, rows, step, own[step]);
    }
  }
  __device__ __forceinline__ void get(int step, uint32_t (&a)[4]) const {
    if constexpr (kShared) {
      const uint4 v = room[step * kWarp];
      a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = own[step][i];
    }
  }
};

template <int kDims>
__device__ __forceinline__ void score_page(const QueryFragments<kDims>& queries, const uint4* keys,
                                           float (&scores)[8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int first = key_place(t, 2 * g), second = key_place(t, 2 * g + 1);
#pragma unroll
  for (int n = 0; n < 8; ++n) scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0F;
#pragma unroll
  for (int step = 0; step < kDims / 16; ++step) {
    uint32_t a[4];
    queries.get(step, a);
    const uint4* const at = keys + 8 * 16 * step;  // four rows on, all is twisted the same way
    const Words4 low[2] = {words_of(at[first]), words_of(at[second])};
    const Words4 high[2] = {words_of(at[first + 4 * 16]), words_of(at[second + 4 * 16])};
    add_scores(scores, a, low, high);
  }
}

// The state of a lane's two queries.
template <int kDims>
struct Results {
  float sums[kDims / 32][4][4];
  SoftmaxState state[2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int q = 0; q < kDims / 32; ++q) {
#pragma unroll
      for (int n = 0; n < 4; ++n) sums[q][n][0] = sums[q][n][1] = sums[q][n][2] = sums[q][n][3] = 0.0F;
    }
    state[0] = state[1] = empty_state();
  }
};

template <int kDims>
__device__ __forceinline__ void read_values(const uint4* values, int q, PageValues& own) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int first = value_place<kDims>(8 * t, g);  // eight rows are twisted the same way
#pragma unroll
  for (int i = 0; i < 8; ++i)
    own.pairs[i] = words_of(values[first + i * PageRoom<kDims>::kValuePieces + 8 * q]);
}

// The warp reads all values of the page: seldom, where a page is seen in part.
template <int kDims>
__device__ __forceinline__ bool has_special(const uint4* values) {
  uint32_t bits = 0;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x) % kWarp; i < PageRoom<kDims>::kPieces; i += kWarp) {
    bits |= special_bits(words_of(values[i]));
  }
  return __any_sync(kWholeWarp, bits != 0);
}

// One copy of the code for all of head_dim: no model gets here that gives numbers.
template <int kDims>
__device__ __forceinline__ void add_special_page(const PageWeights& page, const MergeFactors (&factors)[2],
                                                 const uint4* values, Results<kDims>& results) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int tile = 0; tile < kDims / 8; ++tile) {
    uint32_t words[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      words[i] = reinterpret_cast<const uint32_t*>(values +
                                                   value_place<kDims>(8 * t + i, tile / 4 * 8 + g))[tile % 4];
    }
    float sums[4], special[4];
    multiply_special(page, words, sums, special);
#pragma unroll
    for (int to = 0; to < kDims / 8; ++to) {
      if (to != tile) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& result = results.sums[to / 4][to % 4][i];
        result = merged(result, sums[i], factors[i / 2]);
        if (special[i] != 0.0F) result += special[i] * factors[i / 2].of_new;
      }
    }
  }
}

template <int kDims, bool kInt8>
__device__ __forceinline__ void add_page(const PageWeights& page, bool hides, const uint4* values,
                                         Results<kDims>& results) {
  const MergeFactors factors[2] = {merge(results.state[0], page.state[0]),
                                   merge(results.state[1], page.state[1])};
  if (!kInt8 && hides && has_special<kDims>(values)) {
    return add_special_page(page, factors, values, results);
  }
#pragma unroll
  for (int q = 0; q < kDims / 32; ++q) {
    PageValues own;
    read_values<kDims>(values, q, own);
    float sums[4][4];
    multiply_values(page.weights, own, sums);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        results.sums[q][n][i] = merged(results.sums[q][n][i], sums[n][i], factors[i / 2]);
      }
    }
  }
}

// The end of a chunk. y has the state of the chunks before, if there were any, and gets that of all or, after
// the last one, the result. `index`: of the lane's first query in the tile.
template <int kDims>
__device__ __forceinline__ void end_chunk(const AttentionCall& call, const Tile& tile,
                                          const Query (&queries)[2], int index, bool is_first, bool is_last,
                                          SoftmaxState* totals, Results<kDims>& chunk) {
  const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    SoftmaxState total = totals[index + 8 * r];
    const MergeFactors factors = merge(total, chunk.state[r]);
    __syncwarp();  // four lanes have read it
    if (t == 0) totals[index + 8 * r] = total;
    const float last = is_last ? __frcp_rn(total.sum) : 1.0F;
    if (index + 8 * r >= tile.n_queries) continue;
    float* const y = result_of(call, tile, queries[r]);
#pragma unroll
    for (int q = 0; q < kDims / 32; ++q) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = 32 * q + 8 * t + 4 * half;
        if (at >= call.head_dim) continue;
        float values[4];
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const float before = is_first ? 0.0F : y[at + n];
          values[n] = merged(before, chunk.sums[q][n][2 * r + half], factors);
          if (is_last) values[n] *= last;
        }
        store_4(y + at, values, call.y_is_aligned);
      }
    }
  }
  chunk.clear();
}

// Shared memory in order: the tile of keys and that of values, twice up to head_dim 128 (int8: one tile for
// keys, then values), the pages as they came and their scales (int8), the queries' fragments.
template <int kDims, bool kInt8>
struct WideRoom {
  static constexpr int kBuffers = kInt8 || kDims > 128 ? 1 : 2;
  static constexpr int kTiles = kInt8 ? 1 : 2 * kBuffers;
  static constexpr int kPieces = PageRoom<kDims>::kPieces;
  static constexpr int kRawAt = kTiles * kPieces;
  static constexpr int kScalesAt = kRawAt + (kInt8 ? kPieces : 0);
  static constexpr int kQueriesAt = kScalesAt + (kInt8 ? 64 : 0);
  static constexpr int kEnd = kQueriesAt + (QueryFragments<kDims>::kShared ? 4 * kWarp * kDims / 16 : 0);
  static constexpr size_t kBytes = static_cast<size_t>(kEnd) * 16;
  static_assert(kBytes + 1024 <= 99 * 1024, "what every GPU has, less what the kernel takes besides");
};

// Where the pages of one head come from and go to.
template <int kDims, bool kInt8>
struct PageCopies {
  using Room = WideRoom<kDims, kInt8>;
  const AttentionCall& call;
  const Tile& tile;
  const SeenBlocks& seen;
  int32_t kv_head;
  uint4* shared;

  __device__ __forceinline__ uint4* keys(int32_t slot) const {
    return shared + slot % Room::kBuffers * 2 * Room::kPieces;
  }
  __device__ __forceinline__ uint4* values(int32_t slot) const {
    return kInt8 ? shared : keys(slot) + Room::kPieces;
  }
  __device__ __forceinline__ uint4* raw_keys() const { return shared + Room::kRawAt; }
  __device__ __forceinline__ uint4* raw_values() const { return raw_keys() + Room::kPieces / 2; }
  __device__ __forceinline__ float* key_scales(int32_t slot) const {
    return reinterpret_cast<float*>(shared + Room::kScalesAt) + slot % 2 * 2 * kPageKeys;
  }
  __device__ __forceinline__ float* value_scales(int32_t slot) const { return key_scales(slot) + kPageKeys; }

  __device__ __forceinline__ void fetch_keys(int32_t slot) const {
    if (slot < seen.count()) {
      const std::byte* const page = tile.pages[seen.at(slot)];
      const std::byte* const from = page + call.k_at + kv_head * call.k_head_bytes;
      if constexpr (kInt8) {
        const std::byte* const scales = page + call.k_scale_at + kv_head * kPageKeys * 4;
        copy_int8_keys<kDims>(from, scales, call.head_dim, raw_keys(), key_scales(slot));
      } else {
        copy_keys<kDims>(from, call.head_dim, keys(slot));
      }
    }
    commit_copies();
  }
  __device__ __forceinline__ void fetch_values(int32_t slot) const {
    if (slot < seen.count()) {
      const std::byte* const page = tile.pages[seen.at(slot)];
      const std::byte* const from = page + call.v_at + kv_head * call.v_head_bytes;
      if constexpr (kInt8) {
        const std::byte* const scales = page + call.v_scale_at + kv_head * kPageKeys * 4;
        copy_int8_values<kDims>(from, scales, call.head_dim, raw_values(), value_scales(slot));
      } else {
        copy_values<kDims>(from, call.head_dim, values(slot));
      }
    }
    commit_copies();
  }
};

template <int kDims, bool kInt8>
__global__ __launch_bounds__(kThreads, kDims == 64 ? 3 : 2) void attend_wide(const AttentionCall call) {
  using Room = WideRoom<kDims, kInt8>;
  constexpr bool kAhead = Room::kBuffers == 2;
  wait_for_earlier_kernels();
  let_next_kernel_start();
  NANOCHAT_LAUNCH_SHARED(uint4, shared);
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  // What is needed now and then: the multiplications need the registers.
  __shared__ Tile tile;
  __shared__ SeenBlocks seen;
  __shared__ SoftmaxState totals[kQueries];  // of the chunks before
  if (threadIdx.x == 0) {
    tile = tile_of(call, reinterpret_cast<const PlannedTile*>(call.tables + call.tiles_at)[blockIdx.x]);
    seen = seen_by_tile(call, tile, kQueries, kPageKeys);
  }
  if (threadIdx.x < kQueries) totals[threadIdx.x] = empty_state();
  __syncthreads();
  const int index = static_cast<int>(threadIdx.x) / kWarp * 16 + static_cast<int>(threadIdx.x) % kWarp / 4;
  const Query queries[2] = {query_of(call, tile, index, kv_head), query_of(call, tile, index + 8, kv_head)};
  const PageCopies<kDims, kInt8> copies{call, tile, seen, kv_head, shared};
  copies.fetch_keys(0);
  copies.fetch_values(0);
  QueryFragments<kDims> fragments;
  const float* const rows[2] = {query_values(call, tile, queries[0]), query_values(call, tile, queries[1])};
  fragments.load(call, rows, shared + Room::kQueriesAt);
  Results<kDims> chunk;
  chunk.clear();
  bool is_first = true;
  for (int32_t slot = 0; slot < seen.count(); ++slot) {
    const int32_t block = seen.at(slot);
    const bool hides = hides_keys(call, tile, kQueries, block);
    wait_copies<kAhead ? 0 : 1>();
    __syncthreads();  // all have the page's keys; and are done with the page before
    if constexpr (kAhead) {
      copies.fetch_keys(slot + 1);
      copies.fetch_values(slot + 1);
    } else if constexpr (kInt8) {
      widen_page<kDims, true>(copies.raw_keys(), shared);
      __syncthreads();
      copies.fetch_keys(slot + 1);
    }
    float scores[8][4];
    score_page<kDims>(fragments, copies.keys(slot), scores);
    if constexpr (!kAhead) {
      __syncthreads();  // the keys are used up
      if constexpr (!kInt8) copies.fetch_keys(slot + 1);
      wait_copies<1>();
      __syncthreads();  // all have the page's values
    }
    PageWeights page;
    weigh_page<kInt8>(call, tile, queries, block, hides, copies.key_scales(slot), copies.value_scales(slot),
                      scores, page);
    if constexpr (kInt8) {
      widen_page<kDims, false>(copies.raw_values(), shared);
      __syncthreads();
      copies.fetch_values(slot + 1);
    }
    add_page<kDims, kInt8>(page, hides, copies.values(slot), chunk);
    if constexpr (!kAhead && !kInt8) {
      __syncthreads();  // the values are used up
      copies.fetch_values(slot + 1);
    }
    const bool is_last = slot + 1 == seen.count();
    if (is_last || seen.at(slot + 1) / kPagesOfChunk != block / kPagesOfChunk) {
      end_chunk<kDims>(call, tile, queries, index, is_first, is_last, totals, chunk);
      is_first = false;
    }
  }
}

template <bool kInt8>
void launch_wide_of(CudaDevice& device, const AttentionCall& call, int64_t n_tiles) {
  const dim3 grid(static_cast<unsigned>(n_tiles), static_cast<unsigned>(call.n_kv_head));
  if (call.head_dim <= 64) {
    launch(device, {grid, kThreads, WideRoom<64, kInt8>::kBytes}, attend_wide<64, kInt8>, call);
  } else if (call.head_dim <= 128) {
    launch(device, {grid, kThreads, WideRoom<128, kInt8>::kBytes}, attend_wide<128, kInt8>, call);
  } else {
    launch(device, {grid, kThreads, WideRoom<256, kInt8>::kBytes}, attend_wide<256, kInt8>, call);
  }
}

const KernelList kKernels{kernel_handle(attend_wide<64, false>),  kernel_handle(attend_wide<128, false>),
                          kernel_handle(attend_wide<256, false>), kernel_handle(attend_wide<64, true>),
                          kernel_handle(attend_wide<128, true>),  kernel_handle(attend_wide<256, true>)};

}  // namespace

void launch_wide(CudaDevice& device, const AttentionCall& call, DType dtype, int64_t n_tiles) {
  if (dtype == DType::i8) {
    launch_wide_of<true>(device, call, n_tiles);
  } else {
    launch_wide_of<false>(device, call, n_tiles);
  }
}

}  // namespace nanochat::cuda
