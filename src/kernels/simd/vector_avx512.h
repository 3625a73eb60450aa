// Vectors of AVX-512 (F, BW, DQ, VL), by names that say what they do. The same names exist in vector_avx2.h.
#pragma once

#include <cstdint>

// GCC 12 warns about its own intrinsics, which leave lanes that a full mask overwrites undefined.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define NANOCHAT_INLINE [[gnu::always_inline]] inline

namespace nanochat {
namespace {

using Floats = __m512;
using Words = __m512i;  // 32-bit words, each perhaps two 16-bit halves
constexpr int kLanes = 16;
// Register tiles: rows of x times vectors of outputs, out of 32 registers.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;

NANOCHAT_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }

NANOCHAT_INLINE Floats zeros() { return _mm512_setzero_ps(); }
NANOCHAT_INLINE Floats broadcast(float value) { return _mm512_set1_ps(value); }
NANOCHAT_INLINE Floats load(const float* from) { return _mm512_loadu_ps(from); }
NANOCHAT_INLINE void store(float* to, Floats a) { _mm512_storeu_ps(to, a); }
// The first n lanes (0 <= n < kLanes); the others are zero, and their memory is not touched.
NANOCHAT_INLINE Floats load_first(const float* from, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), from);
}
NANOCHAT_INLINE void store_first(float* to, Floats a, int64_t n) {
  _mm512_mask_storeu_ps(to, first_lanes(n), a);
}

NANOCHAT_INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
NANOCHAT_INLINE Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
NANOCHAT_INLINE Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
NANOCHAT_INLINE Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
NANOCHAT_INLINE Floats square_root(Floats a) { return _mm512_sqrt_ps(a); }
NANOCHAT_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}  // a b + c
// b when either is not a number.
NANOCHAT_INLINE Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }
NANOCHAT_INLINE Floats minimum(Floats a, Floats b) { return _mm512_min_ps(a, b); }
NANOCHAT_INLINE Floats select_if_less(Floats a, Floats b, Floats yes, Floats no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
// Some lane of a is not less than b's; neither holds a NaN.
NANOCHAT_INLINE bool any_reaches(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ) != 0; }
NANOCHAT_INLINE Floats magnitude(Floats a) { return _mm512_abs_ps(a); }
NANOCHAT_INLINE Floats with_sign_of(Floats a, Floats sign) {
  return _mm512_or_ps(a, _mm512_and_ps(sign, _mm512_set1_ps(-0.0F)));
}
NANOCHAT_INLINE Floats nearest_integer(Floats a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^a of an integer -126..127.
NANOCHAT_INLINE Floats power_of_two(Floats a) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}
NANOCHAT_INLINE Floats lane_numbers() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// One order: halves are added until one lane is left.
NANOCHAT_INLINE float sum_of_lanes(Floats a) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
NANOCHAT_INLINE float largest_lane(Floats a) {
  const __m256 half = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

NANOCHAT_INLINE Words load_words(const void* from) { return _mm512_loadu_si512(from); }
NANOCHAT_INLINE Words load_first_words(const void* from, int64_t n) {
  return _mm512_maskz_loadu_epi32(first_lanes(n), from);
}
NANOCHAT_INLINE void store_words(void* to, Words a) { _mm512_storeu_si512(to, a); }
// Past the caches; `to` is aligned to the vector.
NANOCHAT_INLINE void stream_words(void* to, Words a) { _mm512_stream_si512(static_cast<__m512i*>(to), a); }
NANOCHAT_INLINE void finish_streams() { _mm_sfence(); }
NANOCHAT_INLINE Words zero_words() { return _mm512_setzero_si512(); }
NANOCHAT_INLINE Words words_of(Floats a) { return _mm512_castps_si512(a); }
NANOCHAT_INLINE Floats floats_of(Words a) { return _mm512_castsi512_ps(a); }

// The largest of word (or half) bit patterns seen, signs dropped: infinities and NaN are the largest of all.
NANOCHAT_INLINE Words widest_word(Words seen, Words a) {
  return _mm512_max_epu32(seen, _mm512_and_si512(a, _mm512_set1_epi32(0x7fffffff)));
}
NANOCHAT_INLINE Words widest_half(Words seen, Words a) {
  return _mm512_max_epu16(seen, _mm512_and_si512(a, _mm512_set1_epi16(0x7fff)));
}
NANOCHAT_INLINE bool any_word_reaches(Words a, uint32_t limit) {
  return _mm512_cmpge_epu32_mask(a, _mm512_set1_epi32(static_cast<int>(limit))) != 0;
}
NANOCHAT_INLINE bool any_half_reaches(Words a, uint16_t limit) {
  return _mm512_cmpge_epu16_mask(a, _mm512_set1_epi16(static_cast<short>(limit))) != 0;
}

NANOCHAT_INLINE Floats load_bf16(const uint16_t* from) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
NANOCHAT_INLINE Floats load_first_bf16(const uint16_t* from, int64_t n) {
  const __m256i halves = _mm256_maskz_loadu_epi16(first_lanes(n), from);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
NANOCHAT_INLINE Floats load_f16(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
NANOCHAT_INLINE Floats load_first_f16(const uint16_t* from, int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), from));
}

// Rounded to bf16: the high half of each word, the low half zero.
NANOCHAT_INLINE Words round_to_bf16(Floats a) {
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 not_a_number = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  return _mm512_and_si512(_mm512_mask_blend_epi32(not_a_number, rounded, quiet),
                          _mm512_set1_epi32(static_cast<int>(0xffff0000U)));
}
// low: what round_to_bf16 made of the element of even index.
NANOCHAT_INLINE Words pair_of(Words low, Words high) {
  return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
}
// Neighbours of 2 kLanes elements, rounded, become kLanes pairs.
NANOCHAT_INLINE Words pairs_of_neighbours(Words first, Words second) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return pair_of(_mm512_permutex2var_epi32(first, even, second),
                 _mm512_permutex2var_epi32(first, odd, second));
}
// 2 kLanes elements, rounded, become kLanes pairs of neighbours. Subnormals may become zero.
NANOCHAT_INLINE Words rounded_pairs(Floats first, Floats second) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
#else
  return pairs_of_neighbours(round_to_bf16(first), round_to_bf16(second));
#endif
}
NANOCHAT_INLINE Floats even_of_pairs(Words pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
NANOCHAT_INLINE Floats odd_of_pairs(Words pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
}

#if defined(__AVX512BF16__)
constexpr bool kHasBf16Dot = true;
// c + the products of both halves, the pair of x being the same for all lanes.
NANOCHAT_INLINE Floats bf16_dot(Words pairs, uint32_t x, Floats c) {
  const __m512i broadcast_x = _mm512_set1_epi32(static_cast<int>(x));
  return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(pairs), reinterpret_cast<__m512bh>(broadcast_x));
}
#else
constexpr bool kHasBf16Dot = false;
NANOCHAT_INLINE Floats bf16_dot(Words, uint32_t, Floats c) { return c; }
#endif

// kLanes pairs of e4m3, times 2^-8, as pairs of bf16: the exponent's upper bits lie beside those of a moved
// code. For a subnormal code the table has what makes its number out of it.
NANOCHAT_INLINE Words load_f8_as_bf16(const void* from) {
  const __m512i codes = _mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
  const __m512i normal = _mm512_set1_epi16(112 << 7);
  const __m512i small =
      _mm512_zextsi128_si512(_mm_setr_epi16(0x0000, 0x3710, 0x37a0, 0x37f0, 0x3840, 0x3870, 0x3820, 0x3810));
  const __mmask32 is_small = _mm512_testn_epi16_mask(codes, _mm512_set1_epi16(0x78));
  const __m512i change = _mm512_mask_permutexvar_epi16(normal, is_small, codes, small);
  const __m512i used = _mm512_set1_epi16(static_cast<short>(0x87f0));
  return _mm512_ternarylogic_epi32(_mm512_slli_epi16(codes, 4), used, change, 0x6a);  // (a & b) ^ c
}

// The same as floats: sign and the other bits of a code are those of an f16 with an exponent of so much less.
NANOCHAT_INLINE void load_f8_pairs(const void* from, Floats& even, Floats& odd) {
  const __m256i pairs = _mm256_loadu_si256(static_cast<const __m256i*>(from));
  const __m256i used = _mm256_set1_epi16(static_cast<short>(0xbf80));
  even = _mm512_cvtph_ps(_mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(pairs, 8), 1), used));
  odd = _mm512_cvtph_ps(_mm256_and_si256(_mm256_srai_epi16(pairs, 1), used));
}

// Integers: each word one of 32 bits, or four bytes, or two of 16 bits.
NANOCHAT_INLINE Words broadcast_word(uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }
NANOCHAT_INLINE Words add_integers(Words a, Words b) { return _mm512_add_epi32(a, b); }
NANOCHAT_INLINE Floats floats_of_integers(Words a) { return _mm512_cvtepi32_ps(a); }
NANOCHAT_INLINE int32_t sum_of_integers(Words a) { return _mm512_reduce_add_epi32(a); }
NANOCHAT_INLINE Words flip_byte_signs(Words a) {
  return _mm512_xor_si512(a, _mm512_set1_epi32(static_cast<int>(0x80808080U)));
}
NANOCHAT_INLINE Floats load_bytes(const uint8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
// 4 kLanes elements, rounded to nearest, as signed bytes in order: each word holds four neighbours.
NANOCHAT_INLINE Words quads_of_integers(Floats a, Floats b, Floats c, Floats d) {
  const __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
  const __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(ab, cd));  // a quarter of each took turns
}
// Bytes 0 and 2, or 1 and 3, of each word as two of 16 bits.
NANOCHAT_INLINE Words even_bytes(Words a) { return _mm512_and_si512(a, _mm512_set1_epi32(0x00ff00ff)); }
NANOCHAT_INLINE Words odd_bytes(Words a) { return _mm512_srli_epi16(a, 8); }
NANOCHAT_INLINE Words even_signed_bytes(Words a) { return _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8); }
NANOCHAT_INLINE Words odd_signed_bytes(Words a) { return _mm512_srai_epi16(a, 8); }
// Each word: the sum of both products of 16 bits.
NANOCHAT_INLINE Words multiply_pairs(Words a, Words b) { return _mm512_madd_epi16(a, b); }
// Each word of c plus the four signed bytes of a.
NANOCHAT_INLINE Words add_signed_bytes(Words c, Words a) {
  const __m512i ones = _mm512_set1_epi16(1);
  const __m512i sums = _mm512_add_epi32(_mm512_madd_epi16(even_signed_bytes(a), ones),
                                        _mm512_madd_epi16(odd_signed_bytes(a), ones));
  return _mm512_add_epi32(c, sums);
}
// a0 b0 a1 b1 ... over both.
NANOCHAT_INLINE void interleave(Words& a, Words& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  const __m512i first = _mm512_permutex2var_epi32(a, low, b);
  b = _mm512_permutex2var_epi32(a, high, b);
  a = first;
}

// Weights are stored as q + kInt8Bias; int8_weights() loads them in the form that int8_dot() takes.
constexpr int32_t kInt8Bias = 128;
#if defined(__AVX512VNNI__)
constexpr bool kHasInt8Dot = true;
NANOCHAT_INLINE Words int8_weights(const void* from) { return load_words(from); }
// c + four products of unsigned bytes of w and signed ones of x, which is the same for all lanes.
// Spelt out: GCC 12 copies the accumulators of the intrinsic to and fro, which takes half of the speed.
NANOCHAT_INLINE Words int8_dot(Words w, uint32_t x, Words c) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(w), "v"(broadcast_word(x)));
  return c;
}
#else
constexpr bool kHasInt8Dot = false;
NANOCHAT_INLINE Words int8_weights(const void* from) { return load_words(from); }
NANOCHAT_INLINE Words int8_dot(Words, uint32_t, Words c) { return c; }
#endif

// Keeps a loaded vector in a register, where the compiler would rather load it once for each use.
NANOCHAT_INLINE Words in_register(Words a) {
  __asm__("" : "+v"(a));
  return a;
}

// Rows become columns: kLanes vectors of kLanes words.
NANOCHAT_INLINE void transpose(Words (&r)[kLanes]) {
  __m512i u[16];
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // four rows at a time: few registers are in use at once
    const __m512i low_top = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    const __m512i high_top = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    const __m512i low_bottom = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]);
    const __m512i high_bottom = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
    u[i] = _mm512_unpacklo_epi64(low_top, low_bottom);
    u[i + 1] = _mm512_unpackhi_epi64(low_top, low_bottom);
    u[i + 2] = _mm512_unpacklo_epi64(high_top, high_bottom);
    u[i + 3] = _mm512_unpackhi_epi64(high_top, high_bottom);
  }
  // u[4 i + c], quarter q: column 4 q + c of rows 4 i .. 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even_top = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88);
    const __m512i odd_top = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd);
    const __m512i even_bottom = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
    const __m512i odd_bottom = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
    r[c] = _mm512_shuffle_i32x4(even_top, even_bottom, 0x88);
    r[8 + c] = _mm512_shuffle_i32x4(even_top, even_bottom, 0xdd);
    r[4 + c] = _mm512_shuffle_i32x4(odd_top, odd_bottom, 0x88);
    r[12 + c] = _mm512_shuffle_i32x4(odd_top, odd_bottom, 0xdd);
  }
}

}  // namespace
}  // namespace nanochat
