// Vectors of AVX2 with FMA and F16C, by the names of vector_avx512.h.
#pragma once

#include <cstdint>

#include <immintrin.h>

#define NANOCHAT_INLINE [[gnu::always_inline]] inline

namespace nanochat {
namespace {

using Floats = __m256;
using Words = __m256i;  // 32-bit words, each perhaps two 16-bit halves
constexpr int kLanes = 8;
// Register tiles: rows of x times vectors of outputs, out of 16 registers.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

// Ones in the first n lanes.
NANOCHAT_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

NANOCHAT_INLINE Floats zeros() { return _mm256_setzero_ps(); }
NANOCHAT_INLINE Floats broadcast(float value) { return _mm256_set1_ps(value); }
NANOCHAT_INLINE Floats load(const float* from) { return _mm256_loadu_ps(from); }
NANOCHAT_INLINE void store(float* to, Floats a) { _mm256_storeu_ps(to, a); }
// The first n lanes (0 <= n < kLanes); the others are zero, and their memory is not touched.
NANOCHAT_INLINE Floats load_first(const float* from, int64_t n) {
  return _mm256_maskload_ps(from, first_lanes(n));
}
NANOCHAT_INLINE void store_first(float* to, Floats a, int64_t n) {
  _mm256_maskstore_ps(to, first_lanes(n), a);
}

NANOCHAT_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
NANOCHAT_INLINE Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
NANOCHAT_INLINE Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
NANOCHAT_INLINE Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
NANOCHAT_INLINE Floats square_root(Floats a) { return _mm256_sqrt_ps(a); }
NANOCHAT_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm256_fmadd_ps(a, b, c);
}  // a b + c
// b when either is not a number.
NANOCHAT_INLINE Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
NANOCHAT_INLINE Floats minimum(Floats a, Floats b) { return _mm256_min_ps(a, b); }
NANOCHAT_INLINE Floats select_if_less(Floats a, Floats b, Floats yes, Floats no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
// Some lane of a is not less than b's; neither holds a NaN.
NANOCHAT_INLINE bool any_reaches(Floats a, Floats b) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)) != 0;
}
NANOCHAT_INLINE Floats magnitude(Floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
NANOCHAT_INLINE Floats with_sign_of(Floats a, Floats sign) {
  return _mm256_or_ps(a, _mm256_and_ps(sign, _mm256_set1_ps(-0.0F)));
}
NANOCHAT_INLINE Floats nearest_integer(Floats a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^a of an integer -126..127.
NANOCHAT_INLINE Floats power_of_two(Floats a) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
NANOCHAT_INLINE Floats lane_numbers() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }

// One order: halves are added until one lane is left.
NANOCHAT_INLINE float sum_of_lanes(Floats a) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
NANOCHAT_INLINE float largest_lane(Floats a) {
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

NANOCHAT_INLINE Words load_words(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
NANOCHAT_INLINE Words load_first_words(const void* from, int64_t n) {
  return _mm256_maskload_epi32(static_cast<const int*>(from), first_lanes(n));
}
NANOCHAT_INLINE void store_words(void* to, Words a) { _mm256_storeu_si256(static_cast<__m256i*>(to), a); }
// Past the caches; `to` is aligned to the vector.
NANOCHAT_INLINE void stream_words(void* to, Words a) { _mm256_stream_si256(static_cast<__m256i*>(to), a); }
NANOCHAT_INLINE void finish_streams() { _mm_sfence(); }
NANOCHAT_INLINE Words zero_words() { return _mm256_setzero_si256(); }
NANOCHAT_INLINE Words words_of(Floats a) { return _mm256_castps_si256(a); }
NANOCHAT_INLINE Floats floats_of(Words a) { return _mm256_castsi256_ps(a); }

// The largest of word (or half) bit patterns seen, signs dropped: infinities and NaN are the largest of all.
NANOCHAT_INLINE Words widest_word(Words seen, Words a) {
  return _mm256_max_epu32(seen, _mm256_and_si256(a, _mm256_set1_epi32(0x7fffffff)));
}
NANOCHAT_INLINE Words widest_half(Words seen, Words a) {
  return _mm256_max_epu16(seen, _mm256_and_si256(a, _mm256_set1_epi16(0x7fff)));
}
NANOCHAT_INLINE bool any_word_reaches(Words a, uint32_t limit) {
  const __m256i bound = _mm256_set1_epi32(static_cast<int>(limit));
  return _mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_max_epu32(a, bound), a)) != 0;
}
NANOCHAT_INLINE bool any_half_reaches(Words a, uint16_t limit) {
  const __m256i bound = _mm256_set1_epi16(static_cast<short>(limit));
  return _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_max_epu16(a, bound), a)) != 0;
}

NANOCHAT_INLINE __m128i first_halves(const uint16_t* from, int64_t n) {
  alignas(16) uint16_t halves[8] = {};
  for (int64_t i = 0; i < n; ++i) halves[i] = from[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(halves));
}
NANOCHAT_INLINE Floats widened_bf16(__m128i halves) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
NANOCHAT_INLINE Floats load_bf16(const uint16_t* from) {
  return widened_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
NANOCHAT_INLINE Floats load_first_bf16(const uint16_t* from, int64_t n) {
  return widened_bf16(first_halves(from, n));
}
NANOCHAT_INLINE Floats load_f16(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
NANOCHAT_INLINE Floats load_first_f16(const uint16_t* from, int64_t n) {
  return _mm256_cvtph_ps(first_halves(from, n));
}

// Rounded to bf16: the high half of each word, the low half zero.
NANOCHAT_INLINE Words round_to_bf16(Floats a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i not_a_number = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, not_a_number),
                          _mm256_set1_epi32(static_cast<int>(0xffff0000U)));
}
// low: what round_to_bf16 made of the element of even index.
NANOCHAT_INLINE Words pair_of(Words low, Words high) {
  return _mm256_or_si256(_mm256_srli_epi32(low, 16), high);
}
// Neighbours of 2 kLanes elements, rounded, become kLanes pairs.
NANOCHAT_INLINE Words pairs_of_neighbours(Words first, Words second) {
  const __m256 a = _mm256_castsi256_ps(first), b = _mm256_castsi256_ps(second);
  const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
  const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
  return _mm256_permute4x64_epi64(pair_of(even, odd), 0xd8);  // quarters of a and b took turns
}
// 2 kLanes elements, rounded, become kLanes pairs of neighbours.
NANOCHAT_INLINE Words rounded_pairs(Floats first, Floats second) {
  return pairs_of_neighbours(round_to_bf16(first), round_to_bf16(second));
}
NANOCHAT_INLINE Floats even_of_pairs(Words pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
NANOCHAT_INLINE Floats odd_of_pairs(Words pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000U))));
}

// kLanes pairs of e4m3, times 2^-8: sign and the other bits of a code are those of an f16 with an exponent of
// so much less.
NANOCHAT_INLINE void load_f8_pairs(const void* from, Floats& even, Floats& odd) {
  const __m128i pairs = _mm_loadu_si128(static_cast<const __m128i*>(from));
  const __m128i used = _mm_set1_epi16(static_cast<short>(0xbf80));
  even = _mm256_cvtph_ps(_mm_and_si128(_mm_srai_epi16(_mm_slli_epi16(pairs, 8), 1), used));
  odd = _mm256_cvtph_ps(_mm_and_si128(_mm_srai_epi16(pairs, 1), used));
}
// The same as pairs of bf16.
NANOCHAT_INLINE Words load_f8_as_bf16(const void* from) {
  Floats even, odd;
  load_f8_pairs(from, even, odd);
  return pair_of(words_of(even), words_of(odd));
}

constexpr bool kHasBf16Dot = false;
NANOCHAT_INLINE Floats bf16_dot(Words, uint32_t, Floats c) { return c; }

// Integers: each word one of 32 bits, or four bytes, or two of 16 bits.
NANOCHAT_INLINE Words broadcast_word(uint32_t word) { return _mm256_set1_epi32(static_cast<int>(word)); }
NANOCHAT_INLINE Words add_integers(Words a, Words b) { return _mm256_add_epi32(a, b); }
NANOCHAT_INLINE Floats floats_of_integers(Words a) { return _mm256_cvtepi32_ps(a); }
NANOCHAT_INLINE int32_t sum_of_integers(Words a) {
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i pair = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x0e));
  return _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 0x01)));
}
NANOCHAT_INLINE Words flip_byte_signs(Words a) {
  return _mm256_xor_si256(a, _mm256_set1_epi32(static_cast<int>(0x80808080U)));
}
NANOCHAT_INLINE Floats load_bytes(const uint8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
// 4 kLanes elements, rounded to nearest, as signed bytes in order: each word holds four neighbours.
NANOCHAT_INLINE Words quads_of_integers(Floats a, Floats b, Floats c, Floats d) {
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
  const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order);  // a half of each took turns
}
// Bytes 0 and 2, or 1 and 3, of each word as two of 16 bits.
NANOCHAT_INLINE Words even_bytes(Words a) { return _mm256_and_si256(a, _mm256_set1_epi32(0x00ff00ff)); }
NANOCHAT_INLINE Words odd_bytes(Words a) { return _mm256_srli_epi16(a, 8); }
NANOCHAT_INLINE Words even_signed_bytes(Words a) { return _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8); }
NANOCHAT_INLINE Words odd_signed_bytes(Words a) { return _mm256_srai_epi16(a, 8); }
// Each word: the sum of both products of 16 bits.
NANOCHAT_INLINE Words multiply_pairs(Words a, Words b) { return _mm256_madd_epi16(a, b); }
// Each word of c plus the four signed bytes of a.
NANOCHAT_INLINE Words add_signed_bytes(Words c, Words a) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i sums = _mm256_add_epi32(_mm256_madd_epi16(even_signed_bytes(a), ones),
                                        _mm256_madd_epi16(odd_signed_bytes(a), ones));
  return _mm256_add_epi32(c, sums);
}
// a0 b0 a1 b1 ... over both.
NANOCHAT_INLINE void interleave(Words& a, Words& b) {
  const __m256i low = _mm256_unpacklo_epi32(a, b), high = _mm256_unpackhi_epi32(a, b);
  a = _mm256_permute2x128_si256(low, high, 0x20);
  b = _mm256_permute2x128_si256(low, high, 0x31);
}

// Weights are stored as q + kInt8Bias; int8_weights() loads them in the form that int8_dot() takes.
constexpr int32_t kInt8Bias = 128;
constexpr bool kHasInt8Dot = false;
NANOCHAT_INLINE Words int8_weights(const void* from) { return load_words(from); }
NANOCHAT_INLINE Words int8_dot(Words, uint32_t, Words c) { return c; }

// Keeps a loaded vector in a register, where the compiler would rather load it once for each use.
NANOCHAT_INLINE Words in_register(Words a) {
  __asm__("" : "+x"(a));
  return a;
}

// Rows become columns: kLanes vectors of kLanes words.
NANOCHAT_INLINE void transpose(Words (&r)[kLanes]) {
  __m256i u[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {  // four rows at a time: few registers are in use at once
    const __m256i low_top = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    const __m256i high_top = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    const __m256i low_bottom = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]);
    const __m256i high_bottom = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
    u[i] = _mm256_unpacklo_epi64(low_top, low_bottom);
    u[i + 1] = _mm256_unpackhi_epi64(low_top, low_bottom);
    u[i + 2] = _mm256_unpacklo_epi64(high_top, high_bottom);
    u[i + 3] = _mm256_unpackhi_epi64(high_top, high_bottom);
  }
  // u[4 i + c], half h: column 4 h + c of rows 4 i .. 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    r[c] = _mm256_permute2x128_si256(u[c], u[4 + c], 0x20);
    r[4 + c] = _mm256_permute2x128_si256(u[c], u[4 + c], 0x31);
  }
}

}  // namespace
}  // namespace nanochat
