// Products of many rows of x with tensor cores: tiles of rows times outputs, both through shared memory.
//
// Floor: 2 m n k operations over the rate of mma.sync. A tile of 128 x 128 reads 32 KB for 2 * 128^2 * 64
// operations, so memory and the L2 cache are idle most of the time; shared memory is what must keep up: a
// warp's 64 x 32 takes 6 KB of it for 32 mma, about the time that these need. Hence 16-byte reads without
// bank conflicts (each lane's 16 bytes are two mma's fragments, see linear_operands.cuh), and copies by
// cp.async two stages ahead.
#pragma once

#include "linear_operands.cuh"

namespace nanochat::cuda {

inline constexpr int kStages = 3;

// Where the piece-th 16 bytes of a row lie in a stage: the lanes of a quarter warp, two rows and four
// neighbouring pieces, must not meet in a bank.
__device__ __forceinline__ int stage_place(int row, int piece) {
  return row * kStageBytes + (piece ^ (row % 2 * 4)) * 16;
}

template <class Operands_, int kWarpRows_, int kWarpColumns_, int kRowTiles_>
struct TileShape {
  using Operands = Operands_;
  static constexpr int kWarpRows = kWarpRows_, kWarpColumns = kWarpColumns_;  // warps of a block
  static constexpr int kRowTiles = kRowTiles_, kColumnTiles = 4;              // mma tiles of a warp
  static constexpr int kThreads = kWarpRows * kWarpColumns * kWarp;
  static constexpr int kRows = kWarpRows * kRowTiles * 16, kColumns = kWarpColumns * kColumnTiles * 8;
  static constexpr int kWeightBytes = kStageBytes / Operands::kLoadSteps;  // of a row in a stage
  static constexpr int kWeightsAt = kRows * kStageBytes;                   // in a stage, x before
  static constexpr int kStageSize = kWeightsAt + kColumns * kWeightBytes;
  static constexpr int kSharedBytes = kStages * kStageSize;
  static constexpr int kChunkStages = kChunk * Operands::kInputBytes / kStageBytes;

  // Rows of 64 bytes need no care.
  static __device__ __forceinline__ int weight_place(int row, int piece) {
    return kWeightBytes == kStageBytes ? stage_place(row, piece) : row * kWeightBytes + piece * 16;
  }
};
template <class Operands>
using LargeTiles = TileShape<Operands, 2, 4, 4>;  // 128 x 128
template <class Operands>
using SmallTiles = TileShape<Operands, 2, 2, 2>;  // 64 x 64

// What a thread copies: the same piece of every kRowStep-th row.
template <class Shape>
class TileCopies {
 public:
  __device__ __forceinline__ TileCopies(const LinearWeights& w, const PreparedInputs& in, int64_t first_row,
                                        int64_t m, int64_t first_output)
      : weights_(weight_row(w, first_output + Weights::row()) + Weights::piece() * 16),
        inputs_(in.rows + (first_row + Inputs::row()) * in.row_bytes + Inputs::piece() * 16),
        rows_left_(m - first_row < Shape::kRows ? static_cast<int>(m - first_row) : Shape::kRows),
        panels_left_(
            static_cast<int>((w.n - first_output + PackedMatrix::kPanel - 1) / PackedMatrix::kPanel)) {}

  __device__ __forceinline__ void start_weights(unsigned char* stage, int number,
                                                const LinearWeights& w) const {
    const int offset = number * Shape::kWeightBytes;
    const bool is_inside = offset + Weights::piece() * 16 < w.row_bytes;
#pragma unroll
    for (int i = 0; i < Weights::kCount; ++i) {
      const int step = i * Weights::kRowStep, panel = step / PackedMatrix::kPanel;
      const unsigned char* from = weights_ + offset + panel * w.panel_bytes +
                                  static_cast<int64_t>(step % PackedMatrix::kPanel) * w.row_bytes;
      copy_16(stage + Shape::kWeightsAt + Shape::weight_place(Weights::row() + step, Weights::piece()), from,
              is_inside && panel < panels_left_);
    }
  }
  __device__ __forceinline__ void start_inputs(unsigned char* stage, int number,
                                               const PreparedInputs& in) const {
#pragma unroll
    for (int i = 0; i < Inputs::kCount; ++i) {
      const int step = i * Inputs::kRowStep;
      copy_16(stage + stage_place(Inputs::row() + step, Inputs::piece()),
              inputs_ + number * kStageBytes + static_cast<int64_t>(step) * in.row_bytes,
              Inputs::row() + step < rows_left_);
    }
  }

 private:
  template <int kTileRows, int kRowBytes>
  struct Pieces {
    static constexpr int kOfRow = kRowBytes / 16, kRowStep = Shape::kThreads / kOfRow;
    static constexpr int kCount = kTileRows / kRowStep;
    static_assert(kRowStep % 2 == 0 && kTileRows % kRowStep == 0);
    static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / kOfRow; }
    static __device__ __forceinline__ int piece() { return static_cast<int>(threadIdx.x) % kOfRow; }
  };
  using Weights = Pieces<Shape::kColumns, Shape::kWeightBytes>;
  using Inputs = Pieces<Shape::kRows, kStageBytes>;

  const unsigned char *weights_, *inputs_;
  int rows_left_, panels_left_;
};

template <class Shape>
__device__ __forceinline__ void multiply_stage(
    typename Shape::Operands::Sum (&sums)[Shape::kRowTiles][Shape::kColumnTiles][4],
    const unsigned char* stage) {
  using Operands = typename Shape::Operands;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int g = lane / 4, t = lane % 4;
  const int row = warp / Shape::kWarpColumns * Shape::kRowTiles * 16 + g;
  const int column = warp % Shape::kWarpColumns * Shape::kColumnTiles * 8 + g;
  const unsigned char* weights = stage + Shape::kWeightsAt;
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    uint4 b[Shape::kColumnTiles];
#pragma unroll
    for (int j = 0; j < Shape::kColumnTiles; ++j) {
      const int piece = Operands::kLoadSteps == 1 ? step * 4 + t : t;
      const int place = Shape::weight_place(column + j * 8, piece);
      b[j] = Operands::step_of(*reinterpret_cast<const uint4*>(weights + place), step);
    }
#pragma unroll
    for (int i = 0; i < Shape::kRowTiles; ++i) {
      const uint4 low = *reinterpret_cast<const uint4*>(stage + stage_place(row + i * 16, step * 4 + t));
      const uint4 high = *reinterpret_cast<const uint4*>(stage + stage_place(row + i * 16 + 8, step * 4 + t));
#pragma unroll
      for (int j = 0; j < Shape::kColumnTiles; ++j) multiply_step(sums[i][j], low, high, b[j]);
    }
  }
}

// The warp's sums, of rows first_row + 8 i, onto its totals; the sums start again.
template <class Shape>
__device__ __forceinline__ void add_tile_chunk(
    float (&totals)[Shape::kRowTiles][Shape::kColumnTiles][4],
    typename Shape::Operands::Sum (&sums)[Shape::kRowTiles][Shape::kColumnTiles][4], const PreparedInputs& in,
    int64_t first_row, int chunk) {
  const float* scales = in.scales + chunk * in.n_scale_rows + first_row;
#pragma unroll
  for (int i = 0; i < Shape::kRowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float scale = Shape::Operands::kHasInputScales ? scales[i * 16 + half * 8] : 1.0F;
#pragma unroll
      for (int j = 0; j < Shape::kColumnTiles * 2; ++j) {
        auto& sum = sums[i][j / 2][half * 2 + j % 2];
        auto& total = totals[i][j / 2][half * 2 + j % 2];
        total = add_chunk<typename Shape::Operands>(total, static_cast<float>(sum), scale);
        sum = 0;
      }
    }
  }
}

template <class Shape>
__device__ __forceinline__ void put_tile(const float (&totals)[Shape::kRowTiles][Shape::kColumnTiles][4],
                                         const LinearWeights& w, const LinearOutputs& out, int64_t first_row,
                                         int64_t first_output) {
#pragma unroll
  for (int j = 0; j < Shape::kColumnTiles * 2; ++j) {
    const int64_t output = first_output + j / 2 * 8 + j % 2;
    if (output >= w.n) continue;
    const float scale = Shape::Operands::kHasScales ? weight_scale(w, output) : 1.0F;
#pragma unroll
    for (int i = 0; i < Shape::kRowTiles * 2; ++i) {
      const int64_t row = first_row + i * 8;
      const float total = totals[i / 2][j / 2][i % 2 * 2 + j % 2];
      if (row < out.m) put_output(out, row, output, Shape::Operands::kHasScales ? scale * total : total);
    }
  }
}

// blockIdx.x: the tiles of rows of one tile of outputs follow each other.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    linear_tiles(LinearWeights w, PreparedInputs in, LinearOutputs out, int64_t n_row_tiles) {
  NANOCHAT_LAUNCH_SHARED(unsigned char, shared);
  const int64_t block_row = blockIdx.x % n_row_tiles * Shape::kRows;
  const int64_t block_output = blockIdx.x / n_row_tiles * Shape::kColumns;
  const TileCopies<Shape> copies(w, in, block_row, out.m, block_output);
  const int n_stages = in.row_bytes / kStageBytes;
  for (int stage = 0; stage < kStages - 1 && stage < n_stages; ++stage)
    copies.start_weights(shared + stage * Shape::kStageSize, stage, w);
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < n_stages) copies.start_inputs(shared + stage * Shape::kStageSize, stage, in);
    commit_copies();
  }

  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first_row = block_row + warp / Shape::kWarpColumns * Shape::kRowTiles * 16 + lane / 4;
  typename Shape::Operands::Sum sums[Shape::kRowTiles][Shape::kColumnTiles][4] = {};
  float totals[Shape::kRowTiles][Shape::kColumnTiles][4] = {};
  for (int number = 0; number < n_stages; ++number) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage is there for all, and all are done with the one before it
    const int ahead = number + kStages - 1;
    if (ahead < n_stages) {
      unsigned char* stage = shared + ahead % kStages * Shape::kStageSize;
      copies.start_weights(stage, ahead, w);
      copies.start_inputs(stage, ahead, in);
    }
    commit_copies();
    multiply_stage<Shape>(sums, shared + number % kStages * Shape::kStageSize);
    if ((number + 1) % Shape::kChunkStages == 0 || number + 1 == n_stages)
      add_tile_chunk<Shape>(totals, sums, in, first_row, number / Shape::kChunkStages);
  }
  put_tile<Shape>(totals, w, out, first_row,
                  block_output + warp % Shape::kWarpColumns * Shape::kColumnTiles * 8 + lane % 4 * 2);
}

}  // namespace nanochat::cuda
