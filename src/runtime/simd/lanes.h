/* 16 numbers at a time, in as many registers as the level needs: loops written once, with the same bits at
 * every level. Multiplication and addition are never fused but where it says so. */
#ifndef MQ_RUNTIME_SIMD_LANES_H
#define MQ_RUNTIME_SIMD_LANES_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernel/simd/values.h"

#define LANES 16

#if defined(__AVX512BW__)
typedef struct {
  __m512i v;
} ints;
typedef struct {
  __m512 v;
} floats;

#define INTS(expression) ((ints){expression})
#define FLOATS(expression) ((floats){expression})
MQ_ALWAYS_INLINE ints ints_load(const int32_t *p) {
  return INTS(_mm512_loadu_si512(p));
}
MQ_ALWAYS_INLINE ints ints_all(int32_t x) {
  return INTS(_mm512_set1_epi32(x));
}
MQ_ALWAYS_INLINE ints ints_add(ints a, ints b) {
  return INTS(_mm512_add_epi32(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_sub(ints a, ints b) {
  return INTS(_mm512_sub_epi32(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_mul(ints a, ints b) {
  return INTS(_mm512_mullo_epi32(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_and(ints a, ints b) {
  return INTS(_mm512_and_si512(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_or(ints a, ints b) {
  return INTS(_mm512_or_si512(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_max(ints a, ints b) {
  return INTS(_mm512_max_epi32(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_min(ints a, ints b) {
  return INTS(_mm512_min_epi32(a.v, b.v));
}
MQ_ALWAYS_INLINE ints ints_left(ints a, ints n) {
  return INTS(_mm512_sllv_epi32(a.v, n.v));
}
MQ_ALWAYS_INLINE ints ints_right(ints a, ints n) {
  return INTS(_mm512_srav_epi32(a.v, n.v));
}
/* -1 where a > b, else 0. */
MQ_ALWAYS_INLINE ints ints_above(ints a, ints b) {
  return INTS(_mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a.v, b.v)));
}
/* (a b + half) / 2^31 rounded down, in 64 bits; it fits 32. half: 2^30, or 0. */
MQ_ALWAYS_INLINE ints ints_high_product(ints a, ints b, int64_t half) {
  const __m512i h = _mm512_set1_epi64(half);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(a.v, b.v), h);
  const __m512i odd =
      _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32)), h);
  return INTS(_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1)));
}
MQ_ALWAYS_INLINE ints ints_of_codes(const unsigned char *p) {
  return INTS(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
MQ_ALWAYS_INLINE void ints_to_codes(unsigned char *p, ints a) {
  _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a.v));
}
MQ_ALWAYS_INLINE void ints_store(int32_t *p, ints a) {
  _mm512_storeu_si512(p, a.v);
}
MQ_ALWAYS_INLINE floats floats_load(const float *p) {
  return FLOATS(_mm512_loadu_ps(p));
}
MQ_ALWAYS_INLINE void floats_store(float *p, floats a) {
  _mm512_storeu_ps(p, a.v);
}
MQ_ALWAYS_INLINE floats floats_all(float x) {
  return FLOATS(_mm512_set1_ps(x));
}
MQ_ALWAYS_INLINE floats floats_of(ints a) {
  return FLOATS(_mm512_cvtepi32_ps(a.v));
}
MQ_ALWAYS_INLINE floats floats_add(floats a, floats b) {
  return FLOATS(_mm512_add_ps(a.v, b.v));
}
MQ_ALWAYS_INLINE floats floats_mul(floats a, floats b) {
  return FLOATS(_mm512_mul_ps(a.v, b.v));
}
MQ_ALWAYS_INLINE floats floats_div(floats a, floats b) {
  return FLOATS(_mm512_div_ps(a.v, b.v));
}
MQ_ALWAYS_INLINE floats floats_sub(floats a, floats b) {
  return FLOATS(_mm512_sub_ps(a.v, b.v));
}
/* -1 where a == b, else 0. */
MQ_ALWAYS_INLINE ints floats_equal(floats a, floats b) {
  return INTS(_mm512_movm_epi32(_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)));
}
/* a > b ? a : b, a < b ? a : b: b where one is NaN. */
MQ_ALWAYS_INLINE floats floats_max(floats a, floats b) {
  return FLOATS(_mm512_max_ps(a.v, b.v));
}
MQ_ALWAYS_INLINE floats floats_min(floats a, floats b) {
  return FLOATS(_mm512_min_ps(a.v, b.v));
}
/* Half to even; |a| <= 2^22. */
MQ_ALWAYS_INLINE ints floats_round(floats a) {
  return INTS(_mm512_cvt_roundps_epi32(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* a b + c and c - a b, rounded once. */
#define LANES_FMA
MQ_ALWAYS_INLINE floats floats_fma(floats a, floats b, floats c) {
  return FLOATS(_mm512_fmadd_ps(a.v, b.v, c.v));
}
MQ_ALWAYS_INLINE floats floats_fnma(floats a, floats b, floats c) {
  return FLOATS(_mm512_fnmadd_ps(a.v, b.v, c.v));
}

#elif defined(__AVX2__)
typedef struct {
  __m256i a, b;
} ints;
typedef struct {
  __m256 a, b;
} floats;

#define INTS_2(function, x, y) ((ints){function((x).a, (y).a), function((x).b, (y).b)})
#define FLOATS_2(function, x, y) ((floats){function((x).a, (y).a), function((x).b, (y).b)})
#define FLOATS_3(function, x, y, z) ((floats){function((x).a, (y).a, (z).a), function((x).b, (y).b, (z).b)})
MQ_ALWAYS_INLINE __m256i load_8(const void *p) {
  return _mm256_loadu_si256((const __m256i *)p);
}
MQ_ALWAYS_INLINE ints ints_load(const int32_t *p) {
  return (ints){load_8(p), load_8(p + 8)};
}
MQ_ALWAYS_INLINE ints ints_all(int32_t x) {
  return (ints){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
MQ_ALWAYS_INLINE ints ints_add(ints a, ints b) {
  return INTS_2(_mm256_add_epi32, a, b);
}
MQ_ALWAYS_INLINE ints ints_sub(ints a, ints b) {
  return INTS_2(_mm256_sub_epi32, a, b);
}
MQ_ALWAYS_INLINE ints ints_mul(ints a, ints b) {
  return INTS_2(_mm256_mullo_epi32, a, b);
}
MQ_ALWAYS_INLINE ints ints_and(ints a, ints b) {
  return INTS_2(_mm256_and_si256, a, b);
}
MQ_ALWAYS_INLINE ints ints_or(ints a, ints b) {
  return INTS_2(_mm256_or_si256, a, b);
}
MQ_ALWAYS_INLINE ints ints_max(ints a, ints b) {
  return INTS_2(_mm256_max_epi32, a, b);
}
MQ_ALWAYS_INLINE ints ints_min(ints a, ints b) {
  return INTS_2(_mm256_min_epi32, a, b);
}
MQ_ALWAYS_INLINE ints ints_left(ints a, ints n) {
  return INTS_2(_mm256_sllv_epi32, a, n);
}
MQ_ALWAYS_INLINE ints ints_right(ints a, ints n) {
  return INTS_2(_mm256_srav_epi32, a, n);
}
MQ_ALWAYS_INLINE ints ints_above(ints a, ints b) {
  return INTS_2(_mm256_cmpgt_epi32, a, b);
}
MQ_ALWAYS_INLINE __m256i high_product_8(__m256i a, __m256i b, int64_t half) {
  const __m256i h = _mm256_set1_epi64x(half);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, b), h);
  const __m256i odd =
      _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32)), h);
  return _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
}
MQ_ALWAYS_INLINE ints ints_high_product(ints a, ints b, int64_t half) {
  return (ints){high_product_8(a.a, b.a, half), high_product_8(a.b, b.b, half)};
}
MQ_ALWAYS_INLINE ints ints_of_codes(const unsigned char *p) {
  return (ints){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)),
                _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8)))};
}
/* Lanes are codes already: saturation changes nothing. */
MQ_ALWAYS_INLINE void ints_to_codes(unsigned char *p, ints a) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(a.a, a.b), 0xd8);
  const __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
  _mm_storeu_si128((__m128i *)(void *)p, _mm_packus_epi16(low, high));
}
MQ_ALWAYS_INLINE void ints_store(int32_t *p, ints a) {
  _mm256_storeu_si256((__m256i *)(void *)p, a.a);
  _mm256_storeu_si256((__m256i *)(void *)(p + 8), a.b);
}
MQ_ALWAYS_INLINE floats floats_load(const float *p) {
  return (floats){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
MQ_ALWAYS_INLINE void floats_store(float *p, floats a) {
  _mm256_storeu_ps(p, a.a);
  _mm256_storeu_ps(p + 8, a.b);
}
MQ_ALWAYS_INLINE floats floats_all(float x) {
  return (floats){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
MQ_ALWAYS_INLINE floats floats_of(ints a) {
  return (floats){_mm256_cvtepi32_ps(a.a), _mm256_cvtepi32_ps(a.b)};
}
MQ_ALWAYS_INLINE floats floats_add(floats a, floats b) {
  return FLOATS_2(_mm256_add_ps, a, b);
}
MQ_ALWAYS_INLINE floats floats_mul(floats a, floats b) {
  return FLOATS_2(_mm256_mul_ps, a, b);
}
MQ_ALWAYS_INLINE floats floats_sub(floats a, floats b) {
  return FLOATS_2(_mm256_sub_ps, a, b);
}
MQ_ALWAYS_INLINE ints floats_equal(floats a, floats b) {
  return (ints){_mm256_castps_si256(_mm256_cmp_ps(a.a, b.a, _CMP_EQ_OQ)),
                _mm256_castps_si256(_mm256_cmp_ps(a.b, b.b, _CMP_EQ_OQ))};
}
MQ_ALWAYS_INLINE floats floats_div(floats a, floats b) {
  return FLOATS_2(_mm256_div_ps, a, b);
}
MQ_ALWAYS_INLINE floats floats_max(floats a, floats b) {
  return FLOATS_2(_mm256_max_ps, a, b);
}
MQ_ALWAYS_INLINE floats floats_min(floats a, floats b) {
  return FLOATS_2(_mm256_min_ps, a, b);
}
MQ_ALWAYS_INLINE ints floats_round(floats a) {
  return (ints){_mm256_cvtps_epi32(a.a), _mm256_cvtps_epi32(a.b)};
}
#define LANES_FMA
MQ_ALWAYS_INLINE floats floats_fma(floats a, floats b, floats c) {
  return FLOATS_3(_mm256_fmadd_ps, a, b, c);
}
MQ_ALWAYS_INLINE floats floats_fnma(floats a, floats b, floats c) {
  return FLOATS_3(_mm256_fnmadd_ps, a, b, c);
}

#else /* plain C */
typedef struct {
  int32_t v[LANES];
} ints;
typedef struct {
  float v[LANES];
} floats;

#define EACH(type, expression)    \
  type y;                         \
  for (int i = 0; i < LANES; i++) \
    y.v[i] = expression;          \
  return y
#define UNSIGNED(x) ((uint32_t)(x))
MQ_ALWAYS_INLINE ints ints_load(const int32_t *p) {
  EACH(ints, p[i]);
}
MQ_ALWAYS_INLINE ints ints_all(int32_t x) {
  EACH(ints, x);
}
MQ_ALWAYS_INLINE ints ints_add(ints a, ints b) {
  EACH(ints, (int32_t)(UNSIGNED(a.v[i]) + UNSIGNED(b.v[i])));
}
MQ_ALWAYS_INLINE ints ints_sub(ints a, ints b) {
  EACH(ints, (int32_t)(UNSIGNED(a.v[i]) - UNSIGNED(b.v[i])));
}
MQ_ALWAYS_INLINE ints ints_mul(ints a, ints b) {
  EACH(ints, (int32_t)(UNSIGNED(a.v[i]) * UNSIGNED(b.v[i])));
}
MQ_ALWAYS_INLINE ints ints_and(ints a, ints b) {
  EACH(ints, a.v[i] & b.v[i]);
}
MQ_ALWAYS_INLINE ints ints_or(ints a, ints b) {
  EACH(ints, a.v[i] | b.v[i]);
}
MQ_ALWAYS_INLINE ints ints_max(ints a, ints b) {
  EACH(ints, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
MQ_ALWAYS_INLINE ints ints_min(ints a, ints b) {
  EACH(ints, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
MQ_ALWAYS_INLINE ints ints_left(ints a, ints n) {
  EACH(ints, (int32_t)(UNSIGNED(a.v[i]) << n.v[i]));
}
MQ_ALWAYS_INLINE ints ints_right(ints a, ints n) {
  EACH(ints, a.v[i] >> n.v[i]);
}
MQ_ALWAYS_INLINE ints ints_above(ints a, ints b) {
  EACH(ints, -(a.v[i] > b.v[i]));
}
MQ_ALWAYS_INLINE ints ints_high_product(ints a, ints b, int64_t half) {
  EACH(ints, (int32_t)(((int64_t)a.v[i] * b.v[i] + half) >> 31));
}
MQ_ALWAYS_INLINE ints ints_of_codes(const unsigned char *p) {
  EACH(ints, p[i]);
}
MQ_ALWAYS_INLINE void ints_to_codes(unsigned char *p, ints a) {
  for (int i = 0; i < LANES; i++)
    p[i] = (unsigned char)a.v[i];
}
MQ_ALWAYS_INLINE void ints_store(int32_t *p, ints a) {
  memcpy(p, a.v, sizeof a.v);
}
MQ_ALWAYS_INLINE floats floats_load(const float *p) {
  EACH(floats, p[i]);
}
MQ_ALWAYS_INLINE void floats_store(float *p, floats a) {
  memcpy(p, a.v, sizeof a.v);
}
MQ_ALWAYS_INLINE floats floats_all(float x) {
  EACH(floats, x);
}
MQ_ALWAYS_INLINE floats floats_of(ints a) {
  EACH(floats, (float)a.v[i]);
}
MQ_ALWAYS_INLINE floats floats_add(floats a, floats b) {
  EACH(floats, a.v[i] + b.v[i]);
}
MQ_ALWAYS_INLINE floats floats_mul(floats a, floats b) {
  EACH(floats, a.v[i] * b.v[i]);
}
MQ_ALWAYS_INLINE floats floats_sub(floats a, floats b) {
  EACH(floats, a.v[i] - b.v[i]);
}
MQ_ALWAYS_INLINE ints floats_equal(floats a, floats b) {
  EACH(ints, -(a.v[i] == b.v[i]));
}
MQ_ALWAYS_INLINE floats floats_div(floats a, floats b) {
  EACH(floats, a.v[i] / b.v[i]);
}
MQ_ALWAYS_INLINE floats floats_max(floats a, floats b) {
  EACH(floats, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
MQ_ALWAYS_INLINE floats floats_min(floats a, floats b) {
  EACH(floats, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
MQ_ALWAYS_INLINE ints floats_round(floats a) {
  EACH(ints, (int32_t)mq_round_even(a.v[i]));
}
/* In double the product is exact; the sum is rounded to odd, which keeps the second rounding right
 * (program_fma). */
MQ_ALWAYS_INLINE float fma_1(float a, float b, float c) {
  const double product = (double)a * (double)b, other = (double)c, sum = product + other;
  const double part = sum - product, lost = (product - (sum - part)) + (other - part);
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  if ((lost > 0 || lost < 0) && (bits & 1) == 0) bits += (lost > 0) == (sum > 0) ? (uint64_t)1 : (uint64_t)-1;
  double odd;
  memcpy(&odd, &bits, sizeof odd);
  return (float)odd;
}
MQ_ALWAYS_INLINE floats floats_fma(floats a, floats b, floats c) {
  EACH(floats, fma_1(a.v[i], b.v[i], c.v[i]));
}
#endif

MQ_ALWAYS_INLINE ints ints_clamp(ints a, ints lo, ints hi) {
  return ints_min(ints_max(a, lo), hi);
}

/* Division by one number, right to the last bit: the quotient by the reciprocal r = f(1/s) is within two
 * units in the last place, corrected by its remainder within one, and corrected again exact (Markstein 1990:
 * r correctly rounded, remainders exact). |a| and s far from the ends of the exponents. */
MQ_ALWAYS_INLINE floats floats_divide_by(floats a, floats s, floats r) {
#if defined(LANES_FMA)
  floats q = floats_mul(a, r);
  q = floats_fma(floats_fnma(q, s, a), r, q);
  return floats_fma(floats_fnma(q, s, a), r, q);
#else
  (void)r;
  return floats_div(a, s);
#endif
}

#endif
