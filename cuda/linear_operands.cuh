// What matrix products with tensor cores have in common: packed weights as fragments, and x as they take it.
//
// A lane loads 16 bytes of one output's row at a time, neighbours along k, and they go into fragments as they
// are: the columns of an mma are a permutation of k, the same one for x, so nothing is moved between lanes.
//   bf16, i8: lane t of a quad has the t-th 16 bytes of 64; its words 0, 1 feed one mma, words 2, 3 the next.
//   f8_e4m3: the 16 codes of lane t, of 64, widen to four mmas.
// "Prepared" x is rows of bf16 or of rounded integers, padded with zeros to whole 128 bytes. 64 bytes of it
// are a step: two mmas. For f8_e4m3 every 128 bytes are permuted so that the t-th 16 bytes of a step belong
// to lane t.
//
// The order of every sum, whatever the kernel: chunks of 256 inputs at absolute positions, from zero, one
// mma after the other to the last step that has inputs; then the chunks' sums in ascending order, from zero.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>
#include <hardware/ptx.h>

#include "hardware/numbers.h"
#include "kernels/int8.h"
#include "tensor/kernels.h"

namespace nanochat::cuda {

inline constexpr int kChunk = 256;       // inputs whose sum is one chain
inline constexpr int kStepBytes = 64;    // of prepared x
inline constexpr int kStageBytes = 128;  // prepared rows are padded to whole ones

// Arguments of kernels have no holes: recorded ones are compared byte by byte.
struct LinearWeights {
  const unsigned char* data;
  int64_t panel_bytes, n;
  int row_bytes, k;
};

struct LinearOutputs {
  float* y;
  int64_t ldy, m;
  int64_t adds;  // or not: 0
};

// x as the caller has it.
struct LinearInputs {
  const float* x;
  int64_t ldx;
  int64_t is_aligned;  // every row, to 16 bytes; or not: 0
};

// x in Scratch. scales: [chunks][n_scale_rows], of integers alone; those of rows past the last mean nothing.
struct PreparedInputs {
  unsigned char* rows;
  float* scales;
  int64_t n_rows, n_scale_rows;
  int row_bytes, n_chunks;
};

__device__ __forceinline__ const unsigned char* weight_row(const LinearWeights& w, int64_t row) {
  return w.data + row / PackedMatrix::kPanel * w.panel_bytes + row % PackedMatrix::kPanel * w.row_bytes;
}
__device__ __forceinline__ float weight_scale(const LinearWeights& w, int64_t row) {
  const auto* scales =
      reinterpret_cast<const float*>(w.data + (row / PackedMatrix::kPanel + 1) * w.panel_bytes);
  return scales[row % PackedMatrix::kPanel - PackedMatrix::kPanel];
}

__device__ __forceinline__ void put_output(const LinearOutputs& out, int64_t row, int64_t column, float sum) {
  float* y = out.y + row * out.ldy + column;
  *y = out.adds != 0 ? *y + sum : sum;
}

__device__ __forceinline__ uint4 zeros_16() { return make_uint4(0, 0, 0, 0); }

// 16 bytes of a row of weights, zeros past its end. Rows that are not aligned to 16 bytes are to two.
template <bool kAligned>
__device__ __forceinline__ uint4 weights_16(const unsigned char* row, int offset, int row_bytes) {
  if constexpr (kAligned) {
    return offset < row_bytes ? load_once(row + offset) : zeros_16();
  } else {
    uint32_t words[4];
    for (int i = 0; i < 4; ++i) {
      const int at = offset + i * 4;
      const auto* halves = reinterpret_cast<const uint16_t*>(row + at);
      words[i] = (at < row_bytes ? halves[0] : 0U) | (at + 2 < row_bytes ? uint32_t{halves[1]} << 16 : 0U);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }
}

// The bf16 of codes first and first + 1 of four.
template <int kFirst>
__device__ __forceinline__ uint32_t bf16_pair_of_f8(uint32_t codes) {
  constexpr unsigned kToUpperBytes = kFirst == 0 ? 0x1404 : 0x3424;
  constexpr uint32_t kTwoTo120 = 0x7b807b80U;
  const uint32_t upper = __byte_perm(codes, 0, kToUpperBytes);
  // A code's bits moved into place mean its value times 2^-120, also of the smallest ones.
  return multiply_bf16_pair(((upper >> 4) & 0x07f007f0U) | (upper & 0x80008000U), kTwoTo120);
}

__device__ __forceinline__ void multiply_pair(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_bf16(d, a, b);
}
__device__ __forceinline__ void multiply_pair(int32_t (&d)[4], const uint32_t (&a)[4],
                                              const uint32_t (&b)[2]) {
  mma_s8(d, a, b);
}

// low, high: a lane's 16 bytes of a step of prepared rows g and g + 8; b: of weights.
template <class Sum>
__device__ __forceinline__ void multiply_step(Sum (&d)[4], const uint4& low, const uint4& high,
                                              const uint4& b) {
  multiply_pair(d, {low.x, high.x, low.y, high.y}, {b.x, b.y});
  multiply_pair(d, {low.z, high.z, low.w, high.w}, {b.z, b.w});
}

struct Bf16Operands {
  using Sum = float;
  static constexpr DType kDType = DType::bf16;
  static constexpr int kInputBytes = 2;  // of a prepared input
  static constexpr int kLoadSteps = 1;   // steps that 16 bytes of weights per lane last
  static constexpr bool kHasScales = false, kHasInputScales = false;
  static __device__ __forceinline__ uint4 step_of(const uint4& loaded, int) { return loaded; }
  static __device__ __forceinline__ int place_of(int piece) { return piece; }
};

struct F8Operands : Bf16Operands {
  static constexpr DType kDType = DType::f8_e4m3;
  static constexpr int kLoadSteps = 2;
  static constexpr bool kHasScales = true;
  static __device__ __forceinline__ uint4 step_of(const uint4& loaded, int step) {
    const uint32_t first = step == 0 ? loaded.x : loaded.z, second = step == 0 ? loaded.y : loaded.w;
    return make_uint4(bf16_pair_of_f8<0>(first), bf16_pair_of_f8<2>(first), bf16_pair_of_f8<0>(second),
                      bf16_pair_of_f8<2>(second));
  }
  // Where the piece-th 16 bytes of 128 go.
  static __device__ __forceinline__ int place_of(int piece) { return piece % 2 * 4 + piece / 2; }
};

struct Int8Operands {
  using Sum = int32_t;
  static constexpr DType kDType = DType::i8;
  static constexpr int kInputBytes = 1;
  static constexpr int kLoadSteps = 1;
  static constexpr bool kHasScales = true, kHasInputScales = true;
  static __device__ __forceinline__ uint4 step_of(const uint4& loaded, int) { return loaded; }
};

template <class Operands>
inline constexpr int kChunkSteps = kChunk* Operands::kInputBytes / kStepBytes;
template <class Operands>
inline constexpr int kChunkLoads = kChunkSteps<Operands> / Operands::kLoadSteps;

// A chunk's sum onto those before it.
template <class Operands>
__device__ __forceinline__ float add_chunk(float total, float sum, float input_scale) {
  return Operands::kHasInputScales ? fmaf(sum, input_scale, total) : total + sum;
}

// Eight inputs, zeros past k.
__device__ __forceinline__ void load_inputs(float (&values)[8], const float* x, int first, int k,
                                            bool is_aligned) {
  if (is_aligned && first + 8 <= k) {
    const float4 low = *reinterpret_cast<const float4*>(x + first);
    const float4 high = *reinterpret_cast<const float4*>(x + first + 4);
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
  } else {
    for (int i = 0; i < 8; ++i) values[i] = first + i < k ? x[first + i] : 0.0F;
  }
}

__device__ __forceinline__ uint4 rounded_to_bf16(const float (&v)[8]) {
  return make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]),
                    bf16_pair(v[6], v[7]));
}

// A group of 256 inputs, eight a lane, as tensor/kernels.h says for i8 weights. Returns the group's scale.
__device__ __forceinline__ float rounded_to_integers(uint2& packed, const float (&v)[8]) {
  bool is_finite = true;
  float largest = 0.0F;
  for (int i = 0; i < 8; ++i) {
    is_finite = is_finite && is_finite_number(v[i]);
    largest = fmaxf(largest, fabsf(v[i]));
  }
  is_finite = __all_sync(kWholeWarp, is_finite) != 0;
  largest = warp_max(largest);
  const bool is_zero = !is_finite || largest < kLeastInt8Input;
  const float inverse = is_zero ? 0.0F : __fdiv_rn(127.0F, largest);
  uint32_t words[2] = {0, 0};
  for (int i = 0; i < 8; ++i) {
    const int value = is_zero ? 0 : __float2int_rn(v[i] * inverse);
    words[i / 4] |= (static_cast<uint32_t>(value) & 0xffU) << (i % 4 * 8);
  }
  packed = make_uint2(words[0], words[1]);
  if (!is_finite) return __uint_as_float(0x7fc00000U);
  return is_zero ? 0.0F : __fdiv_rn(largest, 127.0F);
}

// Makes one chunk of one prepared row, of row_bytes; a warp together. x: nullptr makes zeros.
template <class Operands>
__device__ __forceinline__ void prepare_chunk(const float* x, bool is_aligned, int k, int chunk,
                                              int row_bytes, unsigned char* row, float* scale) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, first = chunk * kChunk + lane * 8;
  float values[8] = {};
  if (x != nullptr) load_inputs(values, x, first, k, is_aligned);
  const bool is_inside = first * Operands::kInputBytes < row_bytes;
  if constexpr (Operands::kHasInputScales) {
    uint2 packed;
    const float group_scale = rounded_to_integers(packed, values);
    if (lane == 0) *scale = group_scale;
    if (is_inside) *reinterpret_cast<uint2*>(row + first) = packed;
  } else {
    const int piece = first / 64 * 8 + Operands::place_of(lane % 8);
    if (is_inside) *reinterpret_cast<uint4*>(row + piece * 16) = rounded_to_bf16(values);
  }
}

}  // namespace nanochat::cuda
