// The table of operations: the one seam between models and hardware.
//
// All float activations are fp32, row-major. A kernel splits its work over the device's threads itself and
// has finished its reads of host arguments when it returns; its results are visible after
// Device::synchronize().
//
// Law: each output value has one order of operations, which depends on the ISA and on its own row alone:
// never on the number of rows, their neighbours, the number of threads or the size of a cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/hash.h"
#include "tensor/activation.h"
#include "tensor/dtype.h"
#include "tensor/kv_page.h"

namespace nanochat {

class Device;

// A matrix [n, k] (n outputs, k inputs) in the one layout that every matrix kernel reads: panels of 64
// outputs.
//   f32:  [ceil(n/64)][k][64]
//   bf16: [ceil(n/64)][ceil(k/2)][64][2]    pairs along k; an odd k is padded with zeros
//   i8:   [ceil(n/64)]{[ceil(k/4)][64][4], [64] fp32}    fours along k, padded with zeros, then each output's
//   scale
//   f8_e4m3: [ceil(n/64)]{[ceil(k/2)][64][2], [64] fp32}    pairs along k, the same
// An element of i8 is stored as the byte q + 128; its value is q * scale, with scale = largest magnitude of
// the row / 127 (0 for a row of zeros) and q = value / scale, rounded to nearest, ties to even. f8_e4m3 is
// the same with codes of e4m3, none of them NaN, and a scale of the largest magnitude / 448. Outputs past n
// are zero rows.
struct PackedMatrix {
  static constexpr int64_t kPanel = 64;
  static constexpr int64_t kInt8Group = 256;         // inputs of i8 weights that share one scale
  static constexpr int64_t kMostInt8Inputs = 65536;  // k of i8 weights
  DType dtype = DType::f32;
  int64_t n = 0, k = 0;
  void* data = nullptr;

  static int64_t panel_bytes(DType dtype, int64_t k) {
    if (dtype == DType::i8) return ((k + 3) / 4 + 1) * kPanel * 4;
    if (dtype == DType::f8_e4m3) return ((k + 1) / 2 + 2) * kPanel * 2;
    return dtype == DType::bf16 ? (k + 1) / 2 * kPanel * 4 : k * kPanel * 4;
  }
  static int64_t packed_bytes(DType dtype, int64_t n, int64_t k) {
    return (n + kPanel - 1) / kPanel * panel_bytes(dtype, k);
  }
};

enum class LinearOutput : int32_t { store, add };

// Rows of a batch that belong to one sequence, and that sequence's KV cache.
struct SequenceRows {
  int64_t first_row;  // in the batch
  int64_t n_rows;
  int64_t position;         // of first_row in the sequence; rows follow each other
  std::byte* const* pages;  // host array of device memory: pages[p / 64] has position p; see kv_page.h
  const float* previous;    // smear: the un-smeared embedding before first_row; nullptr at the start
  int64_t n_keys = 0;       // attention: keys in the pages; 0: position + n_rows
};

struct AttentionShape {
  int64_t n_head, n_kv_head, head_dim;
  int64_t window_left;  // a query at p sees keys max(0, p - window_left)..p; -1: all
  float scale;
  DType kv_dtype = DType::f32;  // of the pages: f32, bf16 or i8
  int64_t layer_offset = 0;     // of this layer's part in a page, in bytes
  int64_t window_right = 0;     // and keys up to p + window_right; 0: causal; -1: to the last key
  int64_t global_keys = 0;      // the first keys are seen by every query, whatever the windows
  // [n_head][2 * bias_reach + 1]: added to the scaled score, by key - query clipped to +-bias_reach; or
  // nullptr.
  const float* bias = nullptr;
  int64_t bias_reach = 0;

  KvLayout kv_layout() const { return {kv_dtype, n_kv_head, head_dim}; }
};

enum class RowPooling : int32_t { mean, max };

struct RowRange {
  int64_t first, n;
};

// Of n numbers, what choosing one by its softmax needs.
struct SoftmaxStats {
  float largest;
  int64_t
      index;   // of the first that is `largest`; -1, and nothing else holds: a NaN, +infinity, all -infinity
  double sum;  // of exp(scale * (x - largest)), in one order: fp32 within 1024 neighbours, then double
};

// Of a row of logits, what choosing a token mostly needs: the best, and how much the others have.
struct TopLogits {
  static constexpr int32_t kMost = 256;
  double sum;         // of exp(x - largest) over the row, in one order: fp32 of neighbours, then double
  double scaled_sum;  // of exp(scale * (x - largest)), in the same order
  float scale;
  int32_t n_logits;  // of the row
  // Listed, of those above -infinity the best. 0: a NaN, +infinity or all -infinity, and nothing else holds.
  int32_t n;
  float logits[kMost];    // the largest first, of equal ones the first in the row
  int32_t tokens[kMost];  // their places in the row
};

struct MeasuredRates {
  double read_bytes_per_second;  // a sum over memory far larger than the caches, all threads
  double f32_flops_per_second;   // fused multiply-adds, counted as 2
  double bf16_flops_per_second;  // with the instruction that linear() uses for bf16
  double int8_ops_per_second;    // the same for i8: multiplications and additions
};

struct Kernels {
  // --- weights -------------------------------------------------------------------------------------------
  // Writes `n_rows` rows of `source` [n_rows, k] (host memory, f32, bf16 or f16) as rows first_row.. of
  // `target`, converting to its dtype. The caller zeroes nothing: rows of the last panel past target.n are
  // zeroed by the call that writes row n-1. Returns the index (row * k + column) of the first element of
  // source that is not finite, or -1.
  // A source of i8 (q, not biased) or f8_e4m3 goes into a target of the same unchanged, with source_scales
  // [n_rows], of which the first that is not finite or negative is reported as its row's first element. Else
  // nullptr.
  int64_t (*pack_rows)(Device&, const PackedMatrix& target, int64_t first_row, int64_t n_rows,
                       const void* source, DType source_dtype, const float* source_scales);
  // target [n_rows, k] fp32 = rows `rows[i]` of the packed matrix (device memory). For tied embeddings,
  // saving.
  void (*unpack_rows)(Device&, const PackedMatrix& source, std::span<const int32_t> rows, float* target);
  // Index of the first NaN or infinity among n elements (f32, bf16, f16; device memory), or -1.
  int64_t (*find_not_finite)(Device&, const void* data, DType dtype, int64_t n);

  // hashes[i] = hash128() of bytes i * piece_bytes .. of device memory, the last piece being what is left.
  // piece_bytes is a multiple of 64, 256 at least.
  void (*hash_pieces)(Device&, const void* data, int64_t n_bytes, int64_t piece_bytes,
                      std::span<Hash128> hashes);

  // --- rows ----------------------------------------------------------------------------------------------
  // target [ids.size(), width] = rows of a plain table [*, width] of f32, bf16 or f16. Ids are in range.
  void (*embed)(Device&, const void* table, DType dtype, std::span<const int32_t> ids, int64_t width,
                float* target);
  // y[m, 0..n) (+)= sum over k of x[m, k] w[n, k]. x rows are ldx apart, y rows ldy. For bf16 weights x is
  // rounded to bf16 first; the sum is fp32, over k in ascending order. For i8 weights each group of 256
  // inputs of a row is rounded to integers of -127..127 times its own scale (largest magnitude / 127; not
  // finite: NaN; below 2^-120: 0); the sum of a group is an exact integer, groups are added in ascending
  // order by fused multiply-adds of integer and group's scale, and the row's scale comes last: the same bits
  // on every instruction set. For f8_e4m3 weights the sum is that of bf16 weights with the codes' values, and
  // the row's scale comes last.
  void (*linear)(Device&, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
                 int64_t ldy, LinearOutput output);
  // Each of n_groups consecutive groups of `width` in each row:
  // y = gain * x / sqrt(mean(x^2) + eps) [* weight]. weight [width] or nullptr. y may be x.
  void (*rms_norm)(Device&, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
                   int64_t n_groups, int64_t width, float eps, float gain, const float* weight);
  // y = (x - mean) / sqrt(variance + eps) [* weight] [+ bias] of each row, its variance being the mean of the
  // squares of x - mean. weight, bias [width] or nullptr. y may be x.
  void (*layer_norm)(Device&, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
                     int64_t width, float eps, const float* weight, const float* bias);
  // Half-split rotation of n_heads heads in each row, in place. cos, sin: [*, head_dim/2].
  //   y1 = x1 cos + x2 sin,  y2 = x2 cos - x1 sin     (Llama's direction: negate the sin table)
  void (*rope)(Device&, float* x, int64_t ldx, std::span<const int32_t> positions, int64_t n_heads,
               int64_t head_dim, const float* cos, const float* sin);
  // Puts each row's k and v [n_kv_head * head_dim] into its sequence's pages at its position, converted to
  // their dtype.
  void (*kv_append)(Device&, std::span<const SequenceRows> sequences, const AttentionShape& shape,
                    const float* k, const float* v, int64_t ld);
  // y[row] = softmax(scale * q k^T + bias) v over the cached keys that the row's position sees: at least one.
  // Keys are visited in blocks of fixed absolute position, in ascending order. q rows ldq apart, y rows ldy.
  // For pages of bf16 and i8 queries and softmax weights may be rounded to bf16.
  void (*attention)(Device&, std::span<const SequenceRows> sequences, const AttentionShape& shape,
                    const float* q, int64_t ldq, float* y, int64_t ldy);

  // y[i] [width] = mean or largest of rows ranges[i] of x, column by column; y rows follow each other. A mean
  // is a sum in double, in the order of the rows; a NaN makes its column NaN; no rows give zeros. The same
  // bits on every instruction set.
  void (*pool_rows)(Device&, std::span<const RowRange> ranges, const float* x, int64_t ldx, int64_t width,
                    RowPooling pooling, float* y);

  // --- elements ------------------------------------------------------------------------------------------
  void (*relu2)(Device&, float* x, int64_t n);  // x = max(x, 0)^2
  // y[m, i] = silu(x[m, i]) * x[m, width + i]; x rows 2 * width long, y rows width.
  void (*swiglu)(Device&, const float* x, float* y, int64_t n_rows, int64_t width);
  // y = a * x + b * y
  void (*scale_add)(Device&, float a, const float* x, float b, float* y, int64_t n);
  // x[row, i] *= factor[row, i]; rows of x are ldx apart, rows of factor ldf.
  void (*multiply)(Device&, float* x, int64_t ldx, const float* factor, int64_t ldf, int64_t n_rows,
                   int64_t width);
  // x[row, i] = activation(x[row, i] + bias[i]); bias [width] or nullptr.
  void (*bias_activation)(Device&, float* x, int64_t ldx, int64_t n_rows, int64_t width, const float* bias,
                          RowActivation activation);
  void (*softcap)(Device&, float* x, int64_t n, float cap);  // x = cap * tanh(x / cap)
  // Of host memory. scale > 0: the inverse of a temperature.
  SoftmaxStats (*softmax_stats)(Device&, const float* x, int64_t n, float scale);
  // top[i] = the best of row i of x [top.size(), n], device memory; n is below 2^31. scales[i] > 0, as there.
  // The sums are within 1e-4 of themselves.
  void (*select_top)(Device&, const float* x, int64_t n, std::span<const float> scales,
                     std::span<TopLogits> top);

  // --- nanochat V1 ---------------------------------------------------------------------------------------
  // v[row, h, :] += scale * sigmoid(gate[h, :] . x[row, 0..n_channels)) * table[ids[row], h, :]
  void (*value_embedding)(Device&, std::span<const int32_t> ids, const void* table, DType dtype,
                          const float* gate, int64_t n_channels, float scale, const float* x, int64_t ldx,
                          float* v, int64_t ldv, int64_t n_kv_head, int64_t head_dim);
  // y[t] = x[t] + lambda * sigmoid(gate . x[t, 0..n_channels)) * x[t-1], per sequence; x[-1] is `previous`,
  // absent for a sequence's first position. y is not x.
  void (*smear)(Device&, std::span<const SequenceRows> sequences, const float* gate, int64_t n_channels,
                float lambda, const float* x, float* y, int64_t width);

  // --- the machine ---------------------------------------------------------------------------------------
  MeasuredRates (*measure_rates)(Device&);
};

// The obvious loops, every stem filled: what all other bodies are tested against.
Kernels reference_kernels();

}  // namespace nanochat
