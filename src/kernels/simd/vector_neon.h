// Vectors of NEON (every aarch64 processor), by the names of vector_avx512.h. What came later than ARMv8.0,
// dot products of bytes and of bf16, is used where the ISA's flags allow it.
#pragma once

#include <cstdint>

#include <arm_neon.h>

#define NANOCHAT_INLINE [[gnu::always_inline]] inline

namespace nanochat {
namespace {

using Floats = float32x4_t;
using Words = uint32x4_t;  // 32-bit words, each perhaps two 16-bit halves
constexpr int kLanes = 4;
// Register tiles: rows of x times vectors of outputs, out of 32 registers.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;

// Keeps a loaded vector in a register, where the compiler would rather load it once for each use.
NANOCHAT_INLINE Words in_register(Words a) {
  __asm__("" : "+w"(a));
  return a;
}

NANOCHAT_INLINE Floats zeros() { return vdupq_n_f32(0.0F); }
NANOCHAT_INLINE Floats broadcast(float value) { return vdupq_n_f32(value); }
NANOCHAT_INLINE Floats load(const float* from) { return vld1q_f32(from); }
NANOCHAT_INLINE void store(float* to, Floats a) { vst1q_f32(to, a); }
// The first n lanes (0 <= n < kLanes); the others are zero, and their memory is not touched.
NANOCHAT_INLINE Floats load_first(const float* from, int64_t n) {
  Floats a = zeros();
  if (n > 0) a = vld1q_lane_f32(from, a, 0);
  if (n > 1) a = vld1q_lane_f32(from + 1, a, 1);
  if (n > 2) a = vld1q_lane_f32(from + 2, a, 2);
  return a;
}
NANOCHAT_INLINE void store_first(float* to, Floats a, int64_t n) {
  if (n > 0) vst1q_lane_f32(to, a, 0);
  if (n > 1) vst1q_lane_f32(to + 1, a, 1);
  if (n > 2) vst1q_lane_f32(to + 2, a, 2);
}

NANOCHAT_INLINE Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
NANOCHAT_INLINE Floats subtract(Floats a, Floats b) { return vsubq_f32(a, b); }
NANOCHAT_INLINE Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
NANOCHAT_INLINE Floats divide(Floats a, Floats b) { return vdivq_f32(a, b); }
NANOCHAT_INLINE Floats square_root(Floats a) { return vsqrtq_f32(a); }
NANOCHAT_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }  // a b + c
NANOCHAT_INLINE Floats select_if_less(Floats a, Floats b, Floats yes, Floats no) {
  return vbslq_f32(vcltq_f32(a, b), yes, no);
}
// Some lane of a is not less than b's; neither holds a NaN.
NANOCHAT_INLINE bool any_reaches(Floats a, Floats b) { return vmaxvq_u32(vcgeq_f32(a, b)) != 0; }
// b when either is not a number. (vmaxq_f32 would give what is not a number.)
NANOCHAT_INLINE Floats maximum(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
NANOCHAT_INLINE Floats minimum(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
NANOCHAT_INLINE Floats magnitude(Floats a) { return vabsq_f32(a); }
NANOCHAT_INLINE Floats with_sign_of(Floats a, Floats sign) {
  const uint32x4_t sign_bits = vandq_u32(vreinterpretq_u32_f32(sign), vdupq_n_u32(0x80000000U));
  return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(a), sign_bits));
}
NANOCHAT_INLINE Floats nearest_integer(Floats a) { return vrndnq_f32(a); }
// 2^a of an integer -126..127.
NANOCHAT_INLINE Floats power_of_two(Floats a) {
  const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(127));
  return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
}
NANOCHAT_INLINE Floats lane_numbers() {
  const float numbers[kLanes] = {0, 1, 2, 3};
  return vld1q_f32(numbers);
}

// One order: halves are added until one lane is left.
NANOCHAT_INLINE float sum_of_lanes(Floats a) {
  const float32x2_t half = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(half, 0) + vget_lane_f32(half, 1);
}
NANOCHAT_INLINE float largest_lane(Floats a) { return vmaxvq_f32(a); }

NANOCHAT_INLINE Words load_words(const void* from) { return vld1q_u32(static_cast<const uint32_t*>(from)); }
NANOCHAT_INLINE Words load_first_words(const void* from, int64_t n) {
  return vreinterpretq_u32_f32(load_first(static_cast<const float*>(from), n));
}
NANOCHAT_INLINE void store_words(void* to, Words a) { vst1q_u32(static_cast<uint32_t*>(to), a); }
// NEON has no intrinsic for stores past the caches.
NANOCHAT_INLINE void stream_words(void* to, Words a) { store_words(to, a); }
NANOCHAT_INLINE void finish_streams() {}
NANOCHAT_INLINE Words zero_words() { return vdupq_n_u32(0); }
NANOCHAT_INLINE Words words_of(Floats a) { return vreinterpretq_u32_f32(a); }
NANOCHAT_INLINE Floats floats_of(Words a) { return vreinterpretq_f32_u32(a); }

// The largest of word (or half) bit patterns seen, signs dropped: infinities and NaN are the largest of all.
NANOCHAT_INLINE Words widest_word(Words seen, Words a) {
  return vmaxq_u32(seen, vandq_u32(a, vdupq_n_u32(0x7fffffff)));
}
NANOCHAT_INLINE Words widest_half(Words seen, Words a) {
  const uint16x8_t sizes = vreinterpretq_u16_u32(vandq_u32(a, vdupq_n_u32(0x7fff7fff)));
  return vreinterpretq_u32_u16(vmaxq_u16(vreinterpretq_u16_u32(seen), sizes));
}
NANOCHAT_INLINE bool any_word_reaches(Words a, uint32_t limit) { return vmaxvq_u32(a) >= limit; }
NANOCHAT_INLINE bool any_half_reaches(Words a, uint16_t limit) {
  return vmaxvq_u16(vreinterpretq_u16_u32(a)) >= limit;
}

NANOCHAT_INLINE uint16x4_t first_halves(const uint16_t* from, int64_t n) {
  uint16x4_t halves = vdup_n_u16(0);
  if (n > 0) halves = vld1_lane_u16(from, halves, 0);
  if (n > 1) halves = vld1_lane_u16(from + 1, halves, 1);
  if (n > 2) halves = vld1_lane_u16(from + 2, halves, 2);
  return halves;
}
NANOCHAT_INLINE Floats widened_bf16(uint16x4_t halves) {
  return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}
NANOCHAT_INLINE Floats widened_f16(uint16x4_t halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }
NANOCHAT_INLINE Floats load_bf16(const uint16_t* from) { return widened_bf16(vld1_u16(from)); }
NANOCHAT_INLINE Floats load_first_bf16(const uint16_t* from, int64_t n) {
  return widened_bf16(first_halves(from, n));
}
NANOCHAT_INLINE Floats load_f16(const uint16_t* from) { return widened_f16(vld1_u16(from)); }
NANOCHAT_INLINE Floats load_first_f16(const uint16_t* from, int64_t n) {
  return widened_f16(first_halves(from, n));
}

// Rounded to bf16: the high half of each word, the low half zero.
NANOCHAT_INLINE Words round_to_bf16(Floats a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  const uint32x4_t is_number = vceqq_f32(a, a);
  return vandq_u32(vbslq_u32(is_number, rounded, quiet), vdupq_n_u32(0xffff0000U));
}
// low: what round_to_bf16 made of the element of even index.
NANOCHAT_INLINE Words pair_of(Words low, Words high) { return vorrq_u32(vshrq_n_u32(low, 16), high); }
// Neighbours of 2 kLanes elements, rounded, become kLanes pairs.
NANOCHAT_INLINE Words pairs_of_neighbours(Words first, Words second) {
  return pair_of(vuzp1q_u32(first, second), vuzp2q_u32(first, second));
}
// 2 kLanes elements, rounded, become kLanes pairs of neighbours.
NANOCHAT_INLINE Words rounded_pairs(Floats first, Floats second) {
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  return vreinterpretq_u32_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(first), second));
#else
  return pairs_of_neighbours(round_to_bf16(first), round_to_bf16(second));
#endif
}
NANOCHAT_INLINE Floats even_of_pairs(Words pairs) { return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)); }
NANOCHAT_INLINE Floats odd_of_pairs(Words pairs) {
  return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000U)));
}

// kLanes pairs of e4m3, times 2^-8: sign and the other bits of a code are those of an f16 with an exponent of
// so much less.
NANOCHAT_INLINE Floats widened_f8(int16x4_t halves) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vand_u16(vreinterpret_u16_s16(halves), vdup_n_u16(0xbf80))));
}
NANOCHAT_INLINE void load_f8_pairs(const void* from, Floats& even, Floats& odd) {
  const int16x4_t pairs = vreinterpret_s16_u8(vld1_u8(static_cast<const uint8_t*>(from)));
  even = widened_f8(vshr_n_s16(vshl_n_s16(pairs, 8), 1));
  odd = widened_f8(vshr_n_s16(pairs, 1));
}
// The same as pairs of bf16.
NANOCHAT_INLINE Words load_f8_as_bf16(const void* from) {
  Floats even, odd;
  load_f8_pairs(from, even, odd);
  return pair_of(words_of(even), words_of(odd));
}

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
constexpr bool kHasBf16Dot = true;
// c + the products of both halves, the pair of x being the same for all lanes.
NANOCHAT_INLINE Floats bf16_dot(Words pairs, uint32_t x, Floats c) {
  return vbfdotq_lane_f32(c, vreinterpretq_bf16_u32(pairs), vcreate_bf16(x), 0);
}
#else
constexpr bool kHasBf16Dot = false;
NANOCHAT_INLINE Floats bf16_dot(Words, uint32_t, Floats c) { return c; }
#endif

// Integers: each word one of 32 bits, or four bytes, or two of 16 bits.
NANOCHAT_INLINE int8x16_t bytes_of(Words a) { return vreinterpretq_s8_u32(a); }
NANOCHAT_INLINE Words broadcast_word(uint32_t word) { return vdupq_n_u32(word); }
NANOCHAT_INLINE Words add_integers(Words a, Words b) { return vaddq_u32(a, b); }
// in_register: a sum would else leave its loop as another type, by a copy in each round.
NANOCHAT_INLINE Floats floats_of_integers(Words a) {
  return vcvtq_f32_s32(vreinterpretq_s32_u32(in_register(a)));
}
NANOCHAT_INLINE int32_t sum_of_integers(Words a) { return vaddvq_s32(vreinterpretq_s32_u32(a)); }
NANOCHAT_INLINE Words flip_byte_signs(Words a) { return veorq_u32(a, vdupq_n_u32(0x80808080U)); }
NANOCHAT_INLINE Floats load_bytes(const uint8_t* from) {
  uint32_t word = 0;
  __builtin_memcpy(&word, from, 4);
  const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(word));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}
// 4 kLanes elements, rounded to nearest, as signed bytes in order: each word holds four neighbours.
NANOCHAT_INLINE Words quads_of_integers(Floats a, Floats b, Floats c, Floats d) {
  const int16x4_t a16 = vqmovn_s32(vcvtnq_s32_f32(a)), b16 = vqmovn_s32(vcvtnq_s32_f32(b));
  const int16x4_t c16 = vqmovn_s32(vcvtnq_s32_f32(c)), d16 = vqmovn_s32(vcvtnq_s32_f32(d));
  const int8x8_t first = vqmovn_s16(vcombine_s16(a16, b16));
  const int8x8_t second = vqmovn_s16(vcombine_s16(c16, d16));
  return vreinterpretq_u32_s8(vcombine_s8(first, second));
}
// Bytes 0 and 2, or 1 and 3, of each word as two of 16 bits.
NANOCHAT_INLINE Words even_bytes(Words a) { return vandq_u32(a, vdupq_n_u32(0x00ff00ff)); }
NANOCHAT_INLINE Words odd_bytes(Words a) {
  return vreinterpretq_u32_u16(vshrq_n_u16(vreinterpretq_u16_u32(a), 8));
}
NANOCHAT_INLINE Words odd_signed_bytes(Words a) {
  return vreinterpretq_u32_s16(vshrq_n_s16(vreinterpretq_s16_u32(a), 8));
}
NANOCHAT_INLINE Words even_signed_bytes(Words a) {
  return odd_signed_bytes(vreinterpretq_u32_u16(vshlq_n_u16(vreinterpretq_u16_u32(a), 8)));
}
// Each word: the sum of both products of 16 bits.
NANOCHAT_INLINE Words multiply_pairs(Words a, Words b) {
  const int16x8_t a16 = vreinterpretq_s16_u32(a), b16 = vreinterpretq_s16_u32(b);
  const int32x4_t low = vmull_s16(vget_low_s16(a16), vget_low_s16(b16));
  return vreinterpretq_u32_s32(vpaddq_s32(low, vmull_high_s16(a16, b16)));
}
// Each word of c plus the four signed bytes of a.
NANOCHAT_INLINE Words add_signed_bytes(Words c, Words a) {
  return vreinterpretq_u32_s32(vpadalq_s16(vreinterpretq_s32_u32(c), vpaddlq_s8(bytes_of(a))));
}
// a0 b0 a1 b1 ... over both.
NANOCHAT_INLINE void interleave(Words& a, Words& b) {
  const Words low = vzip1q_u32(a, b);
  b = vzip2q_u32(a, b);
  a = low;
}

// Weights are stored as q + 128. Products here are of signed bytes: int8_weights() takes the 128 away, so
// that sums need no correction.
constexpr int32_t kInt8Bias = 0;
constexpr bool kHasInt8Dot = true;
NANOCHAT_INLINE Words int8_weights(const void* from) { return flip_byte_signs(load_words(from)); }
// c + four products of signed bytes, those of x being the same for all lanes and none of them -128.
NANOCHAT_INLINE Words int8_dot(Words w, uint32_t x, Words c) {
  const int8x16_t a = bytes_of(w);
  const int32x4_t sums = vreinterpretq_s32_u32(c);
#if defined(__ARM_FEATURE_DOTPROD)
  return vreinterpretq_u32_s32(vdotq_lane_s32(sums, a, vcreate_s8(x), 0));
#else
  // Two products fit into 16 bits: 2 * 128 * 127 = 32512.
  const int8x16_t b = bytes_of(broadcast_word(x));
  const int16x8_t pairs = vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
  return vreinterpretq_u32_s32(vpadalq_s16(sums, pairs));
#endif
}

// Rows become columns: kLanes vectors of kLanes words.
NANOCHAT_INLINE void transpose(Words (&r)[kLanes]) {
  const uint64x2_t even_top = vreinterpretq_u64_u32(vtrn1q_u32(r[0], r[1]));  // columns 0 and 2
  const uint64x2_t odd_top = vreinterpretq_u64_u32(vtrn2q_u32(r[0], r[1]));   // columns 1 and 3
  const uint64x2_t even_bottom = vreinterpretq_u64_u32(vtrn1q_u32(r[2], r[3]));
  const uint64x2_t odd_bottom = vreinterpretq_u64_u32(vtrn2q_u32(r[2], r[3]));
  r[0] = vreinterpretq_u32_u64(vtrn1q_u64(even_top, even_bottom));
  r[1] = vreinterpretq_u32_u64(vtrn1q_u64(odd_top, odd_bottom));
  r[2] = vreinterpretq_u32_u64(vtrn2q_u64(even_top, even_bottom));
  r[3] = vreinterpretq_u32_u64(vtrn2q_u64(odd_top, odd_bottom));
}

}  // namespace
}  // namespace nanochat
