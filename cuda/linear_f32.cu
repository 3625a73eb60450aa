// Products with fp32 weights on the CUDA cores: no TF32.
//
// The order of every sum: chunks of 256 inputs at absolute positions, each a chain of fused multiply-adds in
// ascending order from zero; then the chunks' sums in ascending order, from zero.
//
// Floors: few rows, the bytes of the weights over the memory's rate; many rows, 2 m n k operations over the
// rate of the CUDA cores (67 TFLOP/s of an H200). A thread's 8 x 8 outputs read 16 x 16 bytes of shared
// memory for 256 multiply-adds, which is about half of what shared memory gives in that time.
#include <algorithm>

#include <hardware/ptx.h>

#include "device/fast_products.h"
#include "device/launch.h"
#include "hardware/numbers.h"
#include "linear_operands.cuh"
#include "linear_plan.h"

namespace nanochat::cuda {

namespace {

constexpr int kStageInputs = 32;  // of a row in a stage: 128 bytes
constexpr int kChunkStages = kChunk / kStageInputs;
constexpr int kStages = 3;
constexpr int kPieces = kStageBytes / 16;  // of a row in a stage

// Neighbouring rows' pieces of the same inputs lie in different banks.
__device__ __forceinline__ int piece_place(int row, int piece) {
  return row * kStageBytes + (piece ^ (row % kPieces)) * 16;
}
__device__ __forceinline__ float4 piece_at(const unsigned char* rows, int row, int piece) {
  return *reinterpret_cast<const float4*>(rows + piece_place(row, piece));
}

// Four inputs, of which n_left are in the row: zeros for the others.
template <bool kAligned>
__device__ __forceinline__ void start_piece(unsigned char* place, const void* from, int n_left) {
  if constexpr (kAligned) {
    copy_16(place, from, n_left > 0);
  } else {
    float values[4];
    for (int i = 0; i < 4; ++i) values[i] = i < n_left ? static_cast<const float*>(from)[i] : 0.0F;
    *reinterpret_cast<float4*>(place) = make_float4(values[0], values[1], values[2], values[3]);
  }
}

__device__ __forceinline__ float dot_4(const float4& a, const float4& b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// --- few rows --------------------------------------------------------------------------------------------

constexpr int kFewTile = 32;     // outputs of a block: one a lane
constexpr int kFewWarps = 4;     // which share the chunks
constexpr int kFewSegment = 16;  // chunks whose sums wait in shared memory
constexpr int kMostFewRows = 8;

template <int kRows>
constexpr int kFewStageSize = (kFewTile + kRows) * kStageBytes;
template <int kRows>
constexpr int kFewSharedBytes = kFewWarps* kStages* kFewStageSize<kRows> + kFewSegment* kRows* kFewTile * 4;

// The stages of a warp: the chunks warp, warp + 4, ... of its 32 outputs, and the same inputs of x.
template <int kRows>
struct FewRowsStages {
  const LinearWeights& w;
  const LinearInputs& in;
  int m, warp;
  unsigned char* shared;
  const unsigned char* weights;  // of this lane: the same piece of every fourth row
  static constexpr int kRowStep = kWarp / kPieces;

  __device__ __forceinline__ FewRowsStages(const LinearWeights& all, const LinearInputs& inputs,
                                           int64_t n_rows, unsigned char* block_shared)
      : w(all), in(inputs), m(static_cast<int>(n_rows)), warp(static_cast<int>(threadIdx.x) / kWarp) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    shared = block_shared + warp * kStages * kFewStageSize<kRows>;
    weights = weight_row(w, int64_t{blockIdx.x} * kFewTile + lane / kPieces) + lane % kPieces * 16;
  }
  __device__ __forceinline__ unsigned char* place(int number) const {
    return shared + number % kStages * kFewStageSize<kRows>;
  }
  __device__ __forceinline__ int first_input(int number) const {
    return (warp + number / kChunkStages * kFewWarps) * kChunk + number % kChunkStages * kStageInputs;
  }
  __device__ __forceinline__ int count(int n_chunks) const {
    return warp < n_chunks ? ((n_chunks - warp - 1) / kFewWarps + 1) * kChunkStages : 0;
  }
  __device__ __forceinline__ void start_weights(int number) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, row = lane / kPieces, piece = lane % kPieces;
    const int first = first_input(number);
    const unsigned char* from = weights + int64_t{first} * 4;
#pragma unroll
    for (int i = 0; i < kFewTile / kRowStep; ++i) {
      start_piece<true>(place(number) + piece_place(row + i * kRowStep, piece), from,
                        w.k - first - piece * 4);
      from += int64_t{kRowStep} * w.row_bytes;
    }
  }
  __device__ __forceinline__ void start_inputs(int number) const {
    const int first = first_input(number);
    for (int i = static_cast<int>(threadIdx.x) % kWarp; i < m * kPieces; i += kWarp) {
      const int at = first + i % kPieces * 4;
      start_piece<true>(place(number) + kFewTile * kStageBytes + i * 16, in.x + i / kPieces * in.ldx + at,
                        w.k - at);
    }
  }
};

template <int kRows>
__global__ void __launch_bounds__(kFewWarps* kWarp, 3)
    linear_f32_few(LinearWeights w, LinearInputs in, LinearOutputs out) {
  NANOCHAT_LAUNCH_SHARED(unsigned char, shared);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  auto* chunk_sums = reinterpret_cast<float*>(shared + kFewWarps * kStages * kFewStageSize<kRows>);
  const int m = static_cast<int>(out.m), n_chunks = (w.k + kChunk - 1) / kChunk;
  const int64_t first_output = int64_t{blockIdx.x} * kFewTile;
  const FewRowsStages<kRows> stages(w, in, m, shared);
  const int n_stages = stages.count(n_chunks);
  for (int i = 0; i < kStages - 1 && i < n_stages; ++i) stages.start_weights(i);
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < n_stages) stages.start_inputs(i);
    commit_copies();
  }

  constexpr int kSums = kRows * kFewTile;  // of a chunk
  float totals[(kSums + kFewWarps * kWarp - 1) / (kFewWarps * kWarp)] = {};
  int number = 0;
  for (int segment = 0; segment < n_chunks; segment += kFewSegment) {
    const int segment_end = segment + kFewSegment < n_chunks ? segment + kFewSegment : n_chunks;
    for (int chunk = segment + warp; chunk < segment_end; chunk += kFewWarps) {
      float sums[kRows] = {};
      for (int i = 0; i < kChunkStages; ++i, ++number) {
        wait_copies<kStages - 2>();
        __syncwarp();  // the stage is there for all lanes, and all are done with the one before it
        if (number + kStages - 1 < n_stages) {
          stages.start_weights(number + kStages - 1);
          stages.start_inputs(number + kStages - 1);
        }
        commit_copies();
        const unsigned char* weights = stages.place(number);
        const unsigned char* x = weights + kFewTile * kStageBytes;
#pragma unroll
        for (int piece = 0; piece < kPieces; ++piece) {
          const float4 b = piece_at(weights, lane, piece);
#pragma unroll
          for (int row = 0; row < kRows; ++row) {
            const int x_row = row < m ? row : 0;  // nobody keeps sums of rows past m
            sums[row] =
                dot_4(*reinterpret_cast<const float4*>(x + x_row * kStageBytes + piece * 16), b, sums[row]);
          }
        }
      }
#pragma unroll
      for (int row = 0; row < kRows; ++row)
        chunk_sums[((chunk - segment) * kRows + row) * kFewTile + lane] = sums[row];
    }
    __syncthreads();
    for (int chunk = segment; chunk < segment_end; ++chunk) {
      int at = thread;
      for (float& total : totals) {
        if (at < kSums) total += chunk_sums[(chunk - segment) * kSums + at];
        at += kFewWarps * kWarp;
      }
    }
    __syncthreads();
  }
  int at = thread;
  for (const float total : totals) {
    const int row = at / kFewTile;
    const int64_t output = first_output + at % kFewTile;
    if (at < kSums && row < m && output < w.n) put_output(out, row, output, total);
    at += kFewWarps * kWarp;
  }
}

// --- tiles -----------------------------------------------------------------------------------------------

constexpr int kTileSide = 16;  // threads of a block, in both directions
constexpr int kTileThreads = kTileSide * kTileSide;

// A block computes 16 kEach rows of 16 kEach outputs, a thread every 16th of them in both directions.
template <int kEach>
constexpr int kTileStageSize = 2 * kTileSide* kEach* kStageBytes;

template <int kEach, bool kAligned>
struct TileStages {
  static constexpr int kRows = kTileSide * kEach, kRowStep = kTileThreads / kPieces;
  const LinearWeights& w;
  const LinearInputs& in;
  unsigned char* shared;
  const unsigned char* weights;  // of this thread: the same piece of every 32nd row
  const float* x;
  int rows_left, panels_left;

  __device__ __forceinline__ TileStages(const LinearWeights& all, const LinearInputs& inputs,
                                        int64_t first_row, int64_t m, int64_t first_output,
                                        unsigned char* block_shared)
      : w(all), in(inputs), shared(block_shared) {
    const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
    weights = weight_row(w, first_output + row) + piece * 16;
    x = in.x + (first_row + row) * in.ldx + piece * 4;
    rows_left = m - first_row < kRows ? static_cast<int>(m - first_row) : kRows;
    panels_left = static_cast<int>((w.n - first_output + PackedMatrix::kPanel - 1) / PackedMatrix::kPanel);
  }
  __device__ __forceinline__ unsigned char* place(int number) const {
    return shared + number % kStages * kTileStageSize<kEach>;
  }
  // Of the stage's inputs, from this thread's piece on.
  __device__ __forceinline__ int inputs_left(int number) const {
    return w.k - number * kStageInputs - static_cast<int>(threadIdx.x) % kPieces * 4;
  }
  __device__ __forceinline__ void start_weights(int number) const {
    const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
    unsigned char* stage = place(number) + kRows * kStageBytes;
#pragma unroll
    for (int step = 0; step < kRows; step += kRowStep) {
      const int panel = step / PackedMatrix::kPanel;
      const unsigned char* from = weights + number * kStageBytes + panel * w.panel_bytes +
                                  static_cast<int64_t>(step % PackedMatrix::kPanel) * w.row_bytes;
      start_piece<kAligned>(stage + piece_place(row + step, piece), from,
                            panel < panels_left ? inputs_left(number) : 0);
    }
  }
  __device__ __forceinline__ void start_inputs(int number) const {
    const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
#pragma unroll
    for (int step = 0; step < kRows; step += kRowStep) {
      start_piece<kAligned>(place(number) + piece_place(row + step, piece),
                            x + number * kStageInputs + step * in.ldx,
                            row + step < rows_left ? inputs_left(number) : 0);
    }
  }
};

template <int kEach>
__device__ __forceinline__ void multiply_f32_stage(float (&sums)[kEach][kEach], const unsigned char* stage) {
  const int row = static_cast<int>(threadIdx.x) / kTileSide,
            column = static_cast<int>(threadIdx.x) % kTileSide;
  const unsigned char* weights = stage + kTileSide * kEach * kStageBytes;
#pragma unroll 2
  for (int piece = 0; piece < kPieces; ++piece) {
    float4 b[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) b[j] = piece_at(weights, column + j * kTileSide, piece);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const float4 a = piece_at(stage, row + i * kTileSide, piece);
#pragma unroll
      for (int j = 0; j < kEach; ++j) sums[i][j] = dot_4(a, b[j], sums[i][j]);
    }
  }
}

// blockIdx.x: the tiles of rows of one tile of outputs follow each other.
template <int kEach, bool kAligned>
__global__ void __launch_bounds__(kTileThreads)
    linear_f32_tiles(LinearWeights w, LinearInputs in, LinearOutputs out, int64_t n_row_tiles) {
  NANOCHAT_LAUNCH_SHARED(unsigned char, shared);
  const int64_t first_row = blockIdx.x % n_row_tiles * kTileSide * kEach;
  const int64_t first_output = blockIdx.x / n_row_tiles * kTileSide * kEach;
  const TileStages<kEach, kAligned> stages(w, in, first_row, out.m, first_output, shared);
  const int n_stages = (w.k + kStageInputs - 1) / kStageInputs;
  for (int i = 0; i < kStages - 1 && i < n_stages; ++i) stages.start_weights(i);
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < n_stages) stages.start_inputs(i);
    commit_copies();
  }
  float sums[kEach][kEach] = {}, totals[kEach][kEach] = {};
  for (int number = 0; number < n_stages; ++number) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage is there for all, and all are done with the one before it
    if (number + kStages - 1 < n_stages) {
      stages.start_weights(number + kStages - 1);
      stages.start_inputs(number + kStages - 1);
    }
    commit_copies();
    multiply_f32_stage<kEach>(sums, stages.place(number));
    if ((number + 1) % kChunkStages != 0 && number + 1 != n_stages) continue;
#pragma unroll
    for (int i = 0; i < kEach * kEach; ++i) {
      totals[i / kEach][i % kEach] += sums[i / kEach][i % kEach];
      sums[i / kEach][i % kEach] = 0.0F;
    }
  }
#pragma unroll
  for (int i = 0; i < kEach * kEach; ++i) {
    const int64_t row = first_row + threadIdx.x / kTileSide + i / kEach * kTileSide;
    const int64_t output = first_output + threadIdx.x % kTileSide + i % kEach * kTileSide;
    if (row < out.m && output < w.n) put_output(out, row, output, totals[i / kEach][i % kEach]);
  }
}

const KernelList kKernels{kernel_handle(linear_f32_few<1>), kernel_handle(linear_f32_few<kMostFewRows>),
                          kernel_handle(linear_f32_tiles<8, true>), kernel_handle(linear_f32_tiles<4, true>),
                          kernel_handle(linear_f32_tiles<4, false>)};

template <int kEach, bool kAligned>
void f32_tiles(CudaDevice& device, const LinearWeights& w, const LinearInputs& in, const LinearOutputs& out) {
  constexpr int64_t kSide = kTileSide * kEach;
  const int64_t n_row_tiles = (out.m + kSide - 1) / kSide;
  launch(device,
         {dim3(static_cast<unsigned>(n_row_tiles * ((w.n + kSide - 1) / kSide))), dim3(kTileThreads),
          kStages * kTileStageSize<kEach>},
         linear_f32_tiles<kEach, kAligned>, w, in, out, n_row_tiles);
}

}  // namespace

void linear_f32(CudaDevice& device, const LinearCall& call) {
  const LinearWeights w{static_cast<const unsigned char*>(call.w.data),
                        PackedMatrix::panel_bytes(DType::f32, call.w.k), call.w.n,
                        static_cast<int>(weight_row_bytes(DType::f32, call.w.k)), static_cast<int>(call.w.k)};
  const LinearInputs in{call.x, call.ldx, is_aligned_16(call.x, call.ldx * 4)};
  const LinearOutputs out{call.y, call.ldy, call.m, call.output == LinearOutput::add};
  if (!in.is_aligned || !is_aligned_16(w.data, w.row_bytes)) return f32_tiles<4, false>(device, w, in, out);
  const dim3 few_blocks(static_cast<unsigned>((w.n + kFewTile - 1) / kFewTile)),
      few_threads(kFewWarps * kWarp);
  if (out.m == 1)
    return launch(device, {few_blocks, few_threads, kFewSharedBytes<1>}, linear_f32_few<1>, w, in, out);
  if (out.m <= kMostFewRows) {
    return launch(device, {few_blocks, few_threads, kFewSharedBytes<kMostFewRows>},
                  linear_f32_few<kMostFewRows>, w, in, out);
  }
  FastProducts* const fast = call.m >= kFewestFastRows ? device.fast_products() : nullptr;
  if (fast != nullptr && fast->multiply({DType::f32, call.m, w.n, w.k, w.data, w.row_bytes / 4, call.x,
                                         call.ldx, call.y, call.ldy, out.adds != 0})) {
    return;
  }
  // What the busiest multiprocessor computes; small tiles read twice as much shared memory for it.
  const auto turns = [&](int64_t side) {
    const int64_t n_tiles = (out.m + side - 1) / side * ((w.n + side - 1) / side);
    return (n_tiles + device.limits().n_multiprocessors - 1) / device.limits().n_multiprocessors * side *
           side;
  };
  const bool is_large = turns(128) * 2 <= turns(64) * 3;
  return is_large ? f32_tiles<8, true>(device, w, in, out) : f32_tiles<4, true>(device, w, in, out);
}

}  // namespace nanochat::cuda
