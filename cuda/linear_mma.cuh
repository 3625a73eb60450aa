// Chooses among the kernels of a type of weights that are multiplied with tensor cores. All of them give the
// same bits.
#pragma once

#include <algorithm>

#include "device/fast_products.h"
#include "device/launch.h"
#include "linear_plan.h"
#include "linear_stream.cuh"
#include "linear_tiles.cuh"

namespace nanochat::cuda {

template <class Operands>
class MmaLinear {
 public:
  static KernelList kernels() {
    return {kernel_handle(linear_few_rows<Operands>),
            kernel_handle(linear_prepare<Operands>),
            kernel_handle(linear_some_rows<Operands, 1, false>),
            kernel_handle(linear_some_rows<Operands, 1, true>),
            kernel_handle(linear_some_rows<Operands, 2, true>),
            kernel_handle(linear_tiles<SmallTiles<Operands>>),
            kernel_handle(linear_tiles<LargeTiles<Operands>>)};
  }

  MmaLinear(CudaDevice& device, const LinearCall& call)
      : device_(device),
        w_{static_cast<const unsigned char*>(call.w.data),
           PackedMatrix::panel_bytes(Operands::kDType, call.w.k), call.w.n,
           static_cast<int>(weight_row_bytes(Operands::kDType, call.w.k)), static_cast<int>(call.w.k)},
        in_{call.x, call.ldx, is_aligned_16(call.x, call.ldx * 4)},
        out_{call.y, call.ldy, call.m, call.output == LinearOutput::add},
        n_chunks_((w_.k + kChunk - 1) / kChunk),
        x_row_bytes_(static_cast<int>(whole(call.w.k * Operands::kInputBytes, kStageBytes))) {}

  void run() {
    if (!is_aligned_16(w_.data, w_.row_bytes)) return some_rows<1, false>();
    if (out_.m <= 8 && few_rows()) return;
    if (Operands::kDType == DType::bf16 && out_.m >= kFewestFastRows && fast_product()) return;
    const int64_t enough = 2 * device_.limits().n_multiprocessors;
    if (out_.m <= kMostStreamedRows && n_tiles<SmallTiles<Operands>>() < enough)
      return out_.m <= 16 ? some_rows<1, true>() : some_rows<2, true>();
    // Small tiles need about a quarter more time for the same work.
    const bool is_large = turns<LargeTiles<Operands>>() * 4 <= turns<SmallTiles<Operands>>() * 5;
    return is_large ? tiles<LargeTiles<Operands>>() : tiles<SmallTiles<Operands>>();
  }

 private:
  // Up to here tiles of 64 outputs of a small matrix would leave most of the machine idle.
  static constexpr int64_t kMostStreamedRows = 64;
  static constexpr int64_t kFewRowsBytes = 64 * 1024;  // of shared memory, so that blocks can be neighbours
  static constexpr int64_t kWarpsAtOnce = 24;          // of linear_few_rows, on a multiprocessor
  static constexpr int64_t kScaleRows = 128;           // tiles read whole ones

  static int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }
  static int64_t whole(int64_t n, int64_t size) { return parts(n, size) * size; }
  static dim3 grid(int64_t n_blocks) { return dim3(static_cast<unsigned>(n_blocks)); }

  template <class Shape>
  int64_t n_tiles() const {
    return parts(out_.m, Shape::kRows) * parts(w_.n, Shape::kColumns);
  }
  // Outputs that the busiest multiprocessor computes.
  template <class Shape>
  int64_t turns() const {
    return parts(n_tiles<Shape>(), device_.limits().n_multiprocessors) * Shape::kRows * Shape::kColumns;
  }

  // False: x does not fit.
  bool few_rows() {
    constexpr int kTile = kFewRowsTile<Operands>;
    const int64_t x_stride =
        int64_t{x_row_bytes_} + kStepBytes;  // two rows of a quarter warp in different banks
    const int64_t tile_bytes = n_chunks_ * out_.m * kTile * 4;
    const int64_t x_bytes = out_.m * x_stride, scale_bytes = out_.m * n_chunks_ * 4;
    if (x_bytes + scale_bytes + tile_bytes > kFewRowsBytes) return false;
    const int64_t n_tiles = parts(w_.n, kTile);
    const int64_t wished = n_tiles * n_chunks_ / (2 * kWarpsAtOnce * device_.limits().n_multiprocessors);
    const int64_t room = tile_bytes == 0 ? 1 : (kFewRowsBytes - x_bytes - scale_bytes) / tile_bytes;
    const int64_t tiles = std::clamp<int64_t>(wished, 1, std::min<int64_t>(room, 8));
    const int64_t turns = std::max<int64_t>(1, parts(tiles * n_chunks_, kStreamWarps));
    const int64_t n_warps = std::max<int64_t>(1, parts(tiles * n_chunks_, turns));
    const int64_t sums_at = x_bytes, scales_at = sums_at + tiles * tile_bytes;
    const FewRowsPlan plan{static_cast<int>(tiles), static_cast<int>(x_stride), static_cast<int>(sums_at),
                           static_cast<int>(scales_at)};
    launch(device_,
           {grid(parts(n_tiles, tiles)), dim3(static_cast<unsigned>(n_warps * kWarp)),
            static_cast<size_t>(scales_at + scale_bytes)},
           linear_few_rows<Operands>, w_, in_, out_, plan);
    return true;
  }

  size_t prepared_bytes(int64_t n_rows) const {
    const int64_t scales = Operands::kHasInputScales ? whole(n_rows, kScaleRows) * n_chunks_ : 0;
    return static_cast<size_t>(whole(n_rows * x_row_bytes_, 256) + scales * 4);
  }
  // False: there is no library for it.
  bool fast_product() {
    FastProducts* const products = device_.fast_products();
    if (products == nullptr) return false;
    const Scratch scratch(device_, prepared_bytes(out_.m), "inputs of a matrix product");
    const PreparedInputs in = prepare(scratch, out_.m);
    return products->multiply({DType::bf16, out_.m, w_.n, w_.k, w_.data, w_.row_bytes / 2, in.rows,
                               in.row_bytes / 2, out_.y, out_.ldy, out_.adds != 0});
  }

  // x in Scratch of prepared_bytes(n_rows).
  PreparedInputs prepare(const Scratch& scratch, int64_t n_rows) {
    auto* rows = scratch.template as<unsigned char>();
    const PreparedInputs prepared{
        rows,         reinterpret_cast<float*>(rows + whole(n_rows * x_row_bytes_, 256)),
        n_rows,       whole(n_rows, kScaleRows),
        x_row_bytes_, static_cast<int>(n_chunks_)};
    const int64_t n_blocks = parts(n_rows * n_chunks_, kStreamWarps);
    if (n_blocks > 0) {
      launch(device_, {grid(std::min<int64_t>(n_blocks, 1 << 20)), dim3(kStreamThreads)},
             linear_prepare<Operands>, in_, out_.m, w_.k, prepared);
    }
    return prepared;
  }

  template <int kTiles, bool kAligned>
  void some_rows() {
    const int64_t n_row_tiles = parts(out_.m, kTiles * 16), n_rows = n_row_tiles * kTiles * 16;
    const Scratch scratch(device_, prepared_bytes(n_rows), "inputs of a matrix product");
    const PreparedInputs in = prepare(scratch, n_rows);
    launch(device_, {grid(n_row_tiles * parts(w_.n, kSomeRowsTile)), dim3(kStreamThreads)},
           linear_some_rows<Operands, kTiles, kAligned>, w_, in, out_, n_row_tiles);
  }

  template <class Shape>
  void tiles() {
    const Scratch scratch(device_, prepared_bytes(out_.m), "inputs of a matrix product");
    const PreparedInputs in = prepare(scratch, out_.m);
    launch(device_, {grid(n_tiles<Shape>()), dim3(Shape::kThreads), Shape::kSharedBytes}, linear_tiles<Shape>,
           w_, in, out_, parts(out_.m, Shape::kRows));
  }

  CudaDevice& device_;
  LinearWeights w_;
  LinearInputs in_;
  LinearOutputs out_;
  int64_t n_chunks_;
  int x_row_bytes_;
};

}  // namespace nanochat::cuda
