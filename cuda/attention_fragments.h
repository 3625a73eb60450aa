// One page of keys against 16 queries on the tensor cores, all by one warp: g = lane / 4, t = lane % 4; rows
// g and g + 8 of the fragments are queries.
//
// A page's words (tensor/kv_page.h) are the pairs that mma_bf16() takes as its columns. Which key a column of
// scores is, and which of head_dim a column of values, is chosen such that what a lane reads of a row follows
// each other, 16 bytes at a time:
//   scores, tile n of 8, column c: key 8c + n, so that a lane has keys 16t to 16t + 15 of its two queries
//   values, tile n of 4 in each 32 of head_dim, column c: 4c + n; a lane gets 8t to 8t + 7
// The keys of step j of 4 in the second product are pairs 8t + 2j and 8t + 2j + 1: the weights that a lane
// made are the ones it multiplies.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>
#include <hardware/ptx.h>

#include "attention_kernels.h"
#include "hardware/numbers.h"

namespace nanochat::cuda {

struct alignas(16) Words4 {
  uint32_t word[4];
};
__device__ __forceinline__ Words4 words_of(const uint4& v) { return {{v.x, v.y, v.z, v.w}}; }

// Two int8, the low one first, as the bf16 that equal them: by the float that has such a byte as its last.
__device__ __forceinline__ uint32_t widen_pair(uint32_t pair) {
  const uint32_t biased = pair ^ 0x8080U;
  const float low = __uint_as_float(0x4b000000U | (biased & 0xffU)) - 8388736.0F;
  const float high = __uint_as_float(0x4b000000U | ((biased >> 8) & 0xffU)) - 8388736.0F;
  return (__float_as_uint(low) >> 16) | (__float_as_uint(high) & 0xffff0000U);
}
__device__ __forceinline__ Words4 widen_pairs(uint32_t first, uint32_t second) {
  return {{widen_pair(first), widen_pair(first >> 16), widen_pair(second), widen_pair(second >> 16)}};
}

// Columns 16 * step to 16 * step + 15 of 16 queries, rounded to bf16; zeros past head_dim.
__device__ __forceinline__ void load_queries(const AttentionCall& call, const float* const (&rows)[2],
                                             int step, uint32_t (&a)[4]) {
  const int first = 16 * step + 2 * (static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* const from = rows[i % 2];
    const int at = first + i / 2 * 8;
    const float low = at < call.head_dim ? from[at] : 0.0F;
    const float high = at + 1 < call.head_dim ? from[at + 1] : 0.0F;
    a[i] = round_to_bf16_pair(low, high);
  }
}

// scores += one step of 16 of head_dim. low, high: pairs 8 * step + t and + 4 of keys 8g to 8g + 7.
__device__ __forceinline__ void add_scores(float (&scores)[8][4], const uint32_t (&a)[4],
                                           const Words4 (&low)[2], const Words4 (&high)[2]) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const uint32_t b[2] = {low[n / 4].word[n % 4], high[n / 4].word[n % 4]};
    mma_bf16(scores[n], a, b);
  }
}

// The softmax of one page, two queries a lane.
struct PageWeights {
  uint32_t weights[4][4];  // rows of the second product, step by step
  SoftmaxState state[2];
  uint32_t seen[2];  // bit i: the query sees key 16t + i
};

__device__ __forceinline__ float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, 1));
  return fmaxf(value, __shfl_xor_sync(kWholeWarp, value, 2));
}
__device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(kWholeWarp, value, 1);
  return value + __shfl_xor_sync(kWholeWarp, value, 2);
}

// hides: some query does not see some key. Scales are those of the page, for int8.
template <bool kInt8>
__device__ __forceinline__ void weigh_page(const AttentionCall& call, const Tile& tile,
                                           const Query (&queries)[2], int32_t block, bool hides,
                                           const float* key_scales, const float* value_scales,
                                           float (&scores)[8][4], PageWeights& page) {
  const int own = 16 * (static_cast<int>(threadIdx.x) % 4);
  const int32_t key = block * kPageKeys + own;
  page.seen[0] = page.seen[1] = 0xffffU;
  if (kInt8) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const float key_scale = key_scales[own + i];
      scores[i % 8][i / 8] *= key_scale;
      scores[i % 8][2 + i / 8] *= key_scale;
    }
  }
  if (call.bias == nullptr) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] *= call.scale;
    }
  } else {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      __syncwarp();  // keeps these loads, and their registers, out of what comes before
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        float& score = scores[i % 8][2 * r + i / 8];
        score = fmaf(score, call.scale, bias_of(call, queries[r], key + i));
      }
    }
  }
  if (hides) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const SeenKeys seen = seen_keys(call, tile, queries[r], key);
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        if (seen.has(i)) continue;
        scores[i % 8][2 * r + i / 8] = -INFINITY;
        page.seen[r] &= ~(1U << i);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float largest = -INFINITY, sum = 0.0F;
#pragma unroll
    for (int i = 0; i < 16; ++i) largest = fmaxf(largest, scores[i % 8][2 * r + i / 8]);
    largest = quad_max(largest);
    const float base = finite_base(largest);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float& score = scores[i % 8][2 * r + i / 8];
      score = power_of_two(score - base);
      sum += score;
    }
    page.state[r] = {largest, quad_sum(sum)};
    if (kInt8) {  // what a key that is not seen has for a scale may be anything
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        float& score = scores[i % 8][2 * r + i / 8];
        score = ((page.seen[r] >> i) & 1U) != 0 ? score * value_scales[own + i] : 0.0F;
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {  // pair i: a[r] of step i / 2, or a[2 + r]
      page.weights[i / 2][r + i % 2 * 2] =
          round_to_bf16_pair(scores[2 * i % 8][2 * r + i / 4], scores[(2 * i + 1) % 8][2 * r + i / 4]);
    }
  }
}

// Values of 32 of head_dim: row r of pairs 8t + r.
struct PageValues {
  Words4 pairs[8];
};

// sums: of 32 of head_dim, from nothing.
__device__ __forceinline__ void multiply_values(const uint32_t (&weights)[4][4], const PageValues& values,
                                                float (&sums)[4][4]) {
#pragma unroll
  for (int n = 0; n < 4; ++n) sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0.0F;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const uint32_t b[2] = {values.pairs[2 * j].word[n], values.pairs[2 * j + 1].word[n]};
      mma_bf16(sums[n], weights[j], b);
    }
  }
}

// --- values that are not finite ---
// In a page of which some query does not see all, they must not reach it: 0 times them is not 0. There they
// are taken out, and what they do to the queries that see them is added at the end.
__device__ __forceinline__ bool half_is_finite(uint32_t half) { return (half & 0x7f80U) != 0x7f80U; }
__device__ __forceinline__ uint32_t finite_half(uint32_t half) { return half_is_finite(half) ? half : 0U; }

// Not zero if a half of a word is not finite: its exponent of ones then carries into the sign's place.
__device__ __forceinline__ uint32_t special_bits(const Words4& words) {
  uint32_t bits = 0;
#pragma unroll
  for (int n = 0; n < 4; ++n) bits |= ((words.word[n] & 0x7f807f80U) + 0x00800080U) & 0x80008000U;
  return bits;
}

// As bf16: 1 for +infinity, 128 for -infinity, 16384 for NaN, 0 for others. Of 64 keys the sums are exact and
// tell how many there were of each.
__device__ __forceinline__ uint32_t code_of_half(uint32_t half) {
  if (half_is_finite(half)) return 0;
  if ((half & 0x7fU) != 0) return 0x4680U;
  return (half & 0x8000U) != 0 ? 0x4300U : 0x3f80U;
}

// 1 as bf16 for the keys of pair `pair` that are seen and whose weight is zero, or is not.
__device__ __forceinline__ uint32_t seen_ones(uint32_t weights, uint32_t seen, int pair, bool with_weight) {
  uint32_t ones = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const bool weighs = ((weights >> (16 * i)) & 0x7fffU) != 0;
    if (((seen >> (2 * pair + i)) & 1U) != 0 && weighs == with_weight) ones |= 0x3f80U << (16 * i);
  }
  return ones;
}

// By the counts of infinities and NaN that have a weight and that have none; 0: there were none.
__device__ __forceinline__ float special_sum(float weighty, float weightless) {
  const int counts = static_cast<int>(weighty);
  const bool plus = counts % 128 != 0, minus = counts / 128 != 0;
  if (counts >= 16384 || weightless > 0.0F || (plus && minus)) return __uint_as_float(0x7fffffffU);
  return plus ? INFINITY : minus ? -INFINITY : 0.0F;
}

// One tile of multiply_values(), and what the values that are not finite add to that. words: of pairs 8t to
// 8t + 7. Small, and few registers, rather than fast.
__device__ __forceinline__ void multiply_special(const PageWeights& page, const uint32_t (&words)[8],
                                                 float (&sums)[4], float (&special)[4]) {
  float weighty[4] = {}, weightless[4] = {};
  sums[0] = sums[1] = sums[2] = sums[3] = 0.0F;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    uint32_t finite[2], codes[2], a[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t low = words[2 * j + i] & 0xffffU, high = words[2 * j + i] >> 16;
      finite[i] = finite_half(low) | (finite_half(high) << 16);
      codes[i] = code_of_half(low) | (code_of_half(high) << 16);
    }
    mma_bf16(sums, page.weights[j], finite);
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = seen_ones(page.weights[j][i], page.seen[i % 2], 2 * j + i / 2, true);
    mma_bf16(weighty, a, codes);
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = seen_ones(page.weights[j][i], page.seen[i % 2], 2 * j + i / 2, false);
    mma_bf16(weightless, a, codes);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) special[i] = special_sum(weighty[i], weightless[i]);
}

}  // namespace nanochat::cuda
