// Products of few rows of x: the weights are read once, straight into fragments, and everything else waits
// for them.
//
// Floor: the bytes of the weights over the memory's rate: at 4.3 TB/s 1280 x 1280 of bf16 takes 0.76 us,
// 5120 x 1280 3.0 us. To reach it some 3 MB must be on their way at any time, 25 KB per multiprocessor of an
// H200: a warp of linear_few_rows holds 4 KB of loads in its registers, and the first of them leave
// before the kernel waits for the one before it.
//
// The chunks of 256 inputs are dealt to the warps of a block. A warp leaves the sums of a chunk in shared
// memory; the block adds them in the order of the chunks. While a warp multiplies a chunk it loads the next
// one, each 16 bytes as soon as their registers are free.
#pragma once

#include "linear_operands.cuh"

namespace nanochat::cuda {

inline constexpr int kStreamThreads = 256;

// --- up to 8 rows: x is prepared by every block for itself, in shared memory -----------------------------

struct FewRowsPlan {
  int tiles;         // of kFewRowsTile outputs that a block computes
  int x_row_stride;  // bytes in shared memory
  int chunk_sums;    // where they start, and
  int input_scales;  // ... in bytes of shared memory
};

template <class Operands>
inline constexpr int kFewRowsTile = 8 * (8 / kChunkLoads<Operands>);

// The chunk of a tile that a warp works on: where a lane's first 16 bytes are.
template <class Operands>
struct FewRowsUnit {
  static constexpr int kLoads = kChunkLoads<Operands>;
  static constexpr int kParts = kFewRowsTile<Operands> / 8;
  const unsigned char* rows[kParts];
  int offset;

  __device__ __forceinline__ FewRowsUnit(const LinearWeights& w, int64_t first_output, int chunk) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    for (int part = 0; part < kParts; ++part) rows[part] = weight_row(w, first_output + part * 8 + lane / 4);
    offset = chunk * kLoads * kStepBytes + lane % 4 * 16;
  }
  __device__ __forceinline__ uint4 load(const LinearWeights& w, int part, int i) const {
    return weights_16<true>(rows[part], offset + i * kStepBytes, w.row_bytes);
  }
};

template <class Operands>
__global__ void __launch_bounds__(kStreamThreads)
    linear_few_rows(LinearWeights w, LinearInputs in, LinearOutputs out, FewRowsPlan plan) {
  using Unit = FewRowsUnit<Operands>;
  constexpr int kTile = kFewRowsTile<Operands>;
  NANOCHAT_LAUNCH_SHARED(unsigned char, shared);
  auto* chunk_sums = reinterpret_cast<float*>(shared + plan.chunk_sums);
  auto* input_scales = reinterpret_cast<float*>(shared + plan.input_scales);
  const int thread = static_cast<int>(threadIdx.x), n_threads = static_cast<int>(blockDim.x);
  const int warp = thread / kWarp, lane = thread % kWarp, n_warps = n_threads / kWarp;
  const int m = static_cast<int>(out.m);
  const int n_chunks = (w.k + kChunk - 1) / kChunk;
  const int64_t first_tile = int64_t{blockIdx.x} * plan.tiles;
  const int64_t tiles_left = (w.n + kTile - 1) / kTile - first_tile;
  const int n_tiles = tiles_left < plan.tiles ? static_cast<int>(tiles_left) : plan.tiles;
  const int n_units = n_tiles * n_chunks;

  uint4 loaded[Unit::kParts][Unit::kLoads];
  if (warp < n_units) {
    const Unit unit(w, (first_tile + warp / n_chunks) * kTile, warp % n_chunks);
#pragma unroll
    for (int part = 0; part < Unit::kParts; ++part) {
#pragma unroll
      for (int i = 0; i < Unit::kLoads; ++i) loaded[part][i] = unit.load(w, part, i);
    }
  }
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int x_row_bytes = plan.x_row_stride - kStepBytes;
  for (int i = warp; i < m * n_chunks; i += n_warps) {
    const int row = i / n_chunks;
    prepare_chunk<Operands>(in.x + row * in.ldx, in.is_aligned != 0, w.k, i % n_chunks, x_row_bytes,
                            shared + row * plan.x_row_stride, input_scales + i);
  }
  __syncthreads();

  // Rows past m repeat the last one; nobody keeps their sums.
  const int g = lane / 4, t = lane % 4, x_row = g < m ? g : m - 1;
  for (int at = warp; at < n_units; at += n_warps) {
    const int chunk = at % n_chunks, next = at + n_warps;
    const bool has_next = next < n_units;
    const Unit unit(w, (first_tile + (has_next ? next : at) / n_chunks) * kTile,
                    (has_next ? next : at) % n_chunks);
    const int x_first = chunk * kChunk * Operands::kInputBytes;
    const int steps = (x_row_bytes - x_first) / kStepBytes;
    const unsigned char* x = shared + x_row * plan.x_row_stride + x_first + t * 16;
    typename Operands::Sum sums[Unit::kParts][4] = {};
#pragma unroll
    for (int step = 0; step < kChunkSteps<Operands>; ++step) {
      const int i = step / Operands::kLoadSteps;
      const bool is_last_use = step % Operands::kLoadSteps == Operands::kLoadSteps - 1;
      if (step < steps) {
        const uint4 low = *reinterpret_cast<const uint4*>(x + step * kStepBytes);
#pragma unroll
        for (int part = 0; part < Unit::kParts; ++part) {
          multiply_step(sums[part], low, zeros_16(),
                        Operands::step_of(loaded[part][i], step % Operands::kLoadSteps));
        }
      }
      if (is_last_use && has_next) {
#pragma unroll
        for (int part = 0; part < Unit::kParts; ++part) loaded[part][i] = unit.load(w, part, i);
      }
    }
    if (g < m) {
#pragma unroll
      for (int part = 0; part < Unit::kParts; ++part) {
        float* sum = chunk_sums + (at * m + g) * kTile + part * 8 + t * 2;
        sum[0] = static_cast<float>(sums[part][0]), sum[1] = static_cast<float>(sums[part][1]);
      }
    }
  }
  __syncthreads();

  for (int i = thread; i < n_tiles * m * kTile; i += n_threads) {
    const int tile = i / (m * kTile), row = i / kTile % m, column = i % kTile;
    const int64_t output = (first_tile + tile) * kTile + column;
    if (output >= w.n) continue;
    float total = 0.0F;
    for (int chunk = 0; chunk < n_chunks; ++chunk) {
      const float scale = Operands::kHasInputScales ? input_scales[row * n_chunks + chunk] : 1.0F;
      total = add_chunk<Operands>(total, chunk_sums[((tile * n_chunks + chunk) * m + row) * kTile + column],
                                  scale);
    }
    put_output(out, row, output, Operands::kHasScales ? weight_scale(w, output) * total : total);
  }
}

// --- more rows, or rows that do not fit above: x is prepared by a kernel before ----------------------------

template <class Operands>
__global__ void __launch_bounds__(kStreamThreads)
    linear_prepare(LinearInputs in, int64_t m, int k, PreparedInputs prepared) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t n_chunks = prepared.n_chunks, n_warps = int64_t{gridDim.x} * (kStreamThreads / kWarp);
  for (int64_t i = (int64_t{blockIdx.x} * kStreamThreads + threadIdx.x) / kWarp;
       i < prepared.n_rows * n_chunks; i += n_warps) {
    const int64_t row = i / n_chunks, chunk = i % n_chunks;
    prepare_chunk<Operands>(row < m ? in.x + row * in.ldx : nullptr, in.is_aligned != 0, k,
                            static_cast<int>(chunk), prepared.row_bytes,
                            prepared.rows + row * prepared.row_bytes,
                            prepared.scales + chunk * prepared.n_scale_rows + row);
  }
}

inline constexpr int kSomeRowsTile = 16;   // outputs of a block
inline constexpr int kSegmentChunks = 16;  // whose sums wait in shared memory
inline constexpr int kLoadsAhead = 4;      // of 16 bytes, for each 8 outputs
inline constexpr int kStreamWarps = kStreamThreads / kWarp;

// What a warp of linear_some_rows has in its registers: a part of a chunk of 16 outputs' weights.
template <class Operands, bool kAligned>
struct WeightQueue {
  static constexpr int kParts = kSomeRowsTile / 8;
  static constexpr int kQuads = kChunkLoads<Operands> / kLoadsAhead;  // of a chunk
  const unsigned char* rows[kParts];
  int row_bytes;
  uint4 loaded[kParts][kLoadsAhead];

  __device__ __forceinline__ WeightQueue(const LinearWeights& w, int64_t first_output)
      : row_bytes(w.row_bytes) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    for (int part = 0; part < kParts; ++part) rows[part] = weight_row(w, first_output + part * 8 + lane / 4);
  }
  __device__ __forceinline__ void load(int i, int chunk, int quad) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    const int at = ((chunk * kQuads + quad) * kLoadsAhead + i) * kStepBytes + t * 16;
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      loaded[part][i] = weights_16<kAligned>(rows[part], at, row_bytes);
  }
};

// sums += a part of a chunk; the queue is filled with the next part, of next_chunk if there is one.
// x: a lane's 16 bytes of row g at the part's first step.
template <class Operands, int kTiles, class Queue>
__device__ __forceinline__ void multiply_quad(typename Operands::Sum (&sums)[kTiles][Queue::kParts][4],
                                              Queue& queue, const unsigned char* x, int row_bytes, int steps,
                                              int next_chunk, int next_quad, bool has_next) {
#pragma unroll
  for (int i = 0; i < kLoadsAhead; ++i) {
#pragma unroll
    for (int part_step = 0; part_step < Operands::kLoadSteps; ++part_step) {
      const int step = i * Operands::kLoadSteps + part_step;
      if (step >= steps) continue;
      uint4 b[Queue::kParts];
#pragma unroll
      for (int part = 0; part < Queue::kParts; ++part)
        b[part] = Operands::step_of(queue.loaded[part][i], part_step);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const unsigned char* from = x + int64_t{tile} * 16 * row_bytes + step * kStepBytes;
        const uint4 low = *reinterpret_cast<const uint4*>(from);
        const uint4 high = *reinterpret_cast<const uint4*>(from + int64_t{8} * row_bytes);
#pragma unroll
        for (int part = 0; part < Queue::kParts; ++part) multiply_step(sums[tile][part], low, high, b[part]);
      }
    }
    if (has_next) queue.load(i, next_chunk, next_quad);
  }
}

// A block computes kTiles * 16 rows of 16 outputs; there are zero rows up to whole tiles. The tiles of rows
// of one tile of outputs follow each other in blockIdx.x, so that its weights come from memory once.
template <class Operands, int kTiles, bool kAligned>
__global__ void __launch_bounds__(kStreamThreads, 2)
    linear_some_rows(LinearWeights w, PreparedInputs in, LinearOutputs out, int64_t n_row_tiles) {
  using Queue = WeightQueue<Operands, kAligned>;
  constexpr int kRows = kTiles * 16, kSums = kRows * kSomeRowsTile, kTotals = kSums / kStreamThreads;
  __shared__ float chunk_sums[kSegmentChunks][kSums];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  const int g = lane / 4, t = lane % 4;
  const int64_t first_row = blockIdx.x % n_row_tiles * kRows;
  const int64_t first_output = blockIdx.x / n_row_tiles * kSomeRowsTile;
  const int n_chunks = (w.k + kChunk - 1) / kChunk;

  Queue queue(w, first_output);
#pragma unroll
  for (int i = 0; i < kLoadsAhead; ++i) queue.load(i, warp, 0);
  wait_for_earlier_kernels();
  let_next_kernel_start();

  const unsigned char* x = in.rows + (first_row + g) * in.row_bytes + t * 16;
  float totals[kTotals] = {};
  for (int segment = 0; segment < n_chunks; segment += kSegmentChunks) {
    for (int turn = warp; turn < kSegmentChunks; turn += kStreamWarps) {
      const int chunk = segment + turn;
      if (chunk >= n_chunks) break;
      typename Operands::Sum sums[kTiles][Queue::kParts][4] = {};
#pragma unroll 1
      for (int quad = 0; quad < Queue::kQuads; ++quad) {
        const int x_first = (chunk * Queue::kQuads + quad) * kLoadsAhead * Operands::kLoadSteps * kStepBytes;
        const int next_chunk = quad + 1 < Queue::kQuads ? chunk : chunk + kStreamWarps;
        multiply_quad<Operands>(sums, queue, x + x_first, in.row_bytes, (in.row_bytes - x_first) / kStepBytes,
                                next_chunk, (quad + 1) % Queue::kQuads, next_chunk < n_chunks);
      }
#pragma unroll
      for (int i = 0; i < kTiles * Queue::kParts * 4; ++i) {
        const int tile = i / (Queue::kParts * 4), part = i / 4 % Queue::kParts;
        const int row = tile * 16 + g + i / 2 % 2 * 8, column = part * 8 + t * 2 + i % 2;
        chunk_sums[turn][row * kSomeRowsTile + column] = static_cast<float>(sums[tile][part][i % 4]);
      }
    }
    __syncthreads();
    for (int turn = 0; turn < kSegmentChunks && segment + turn < n_chunks; ++turn) {
#pragma unroll
      for (int i = 0; i < kTotals; ++i) {
        const int at = thread + i * kStreamThreads;
        const int64_t row = first_row + at / kSomeRowsTile;
        const float scale =
            Operands::kHasInputScales ? in.scales[(segment + turn) * in.n_scale_rows + row] : 1.0F;
        totals[i] = add_chunk<Operands>(totals[i], chunk_sums[turn][at], scale);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kTotals; ++i) {
    const int at = thread + i * kStreamThreads;
    const int64_t row = first_row + at / kSomeRowsTile, output = first_output + at % kSomeRowsTile;
    if (row >= out.m || output >= w.n) continue;
    put_output(out, row, output, Operands::kHasScales ? weight_scale(w, output) * totals[i] : totals[i]);
  }
}

}  // namespace nanochat::cuda
