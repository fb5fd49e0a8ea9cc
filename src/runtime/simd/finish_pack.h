/* What becomes of 64 sums at AVX-512, for quick layers (runtime_finish.is_quick): as finish_block.h has it,
 * but clamped and moved to the zero point as bytes, all at once. Rounding changes no order, so that it may
 * come before the clamp. */
#ifndef MQ_RUNTIME_SIMD_FINISH_PACK_H
#define MQ_RUNTIME_SIMD_FINISH_PACK_H

#include "runtime/simd/finish_block.h"

#if defined(__AVX512BW__)
/* The same for all channels. */
struct pack {
  __m512i zero, least, most, order;
};

MQ_ALWAYS_INLINE struct pack load_pack(const struct runtime_finish *f) {
  return (struct pack){.zero = _mm512_set1_epi16((short)f->zero),
                       .least = _mm512_set1_epi8((char)f->least),
                       .most = _mm512_set1_epi8((char)f->most),
                       .order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)};
}

MQ_ALWAYS_INLINE bool is_packed(runtime_form form) {
  return is_fixed(form) || form == RUNTIME_SCALE || form == RUNTIME_BIASED || form == RUNTIME_REAL;
}

/* v / scale, as far as rounding it to an integer tells: v reciprocal + v rest is it to one part in 2^47. The
 * floats nearest to the two differ only where v / scale is that near to the middle m of two floats, and their
 * integers only where m lies beside k + 1/2. Then v is the float nearest to m scale: few enough for
 * test_finish.c to try them for every scale. None differs. */
MQ_ALWAYS_INLINE floats divide_for_rounding(floats v, const struct block *c) {
  return floats_fma(v, c->reciprocal, floats_mul(v, c->rest));
}

/* 16 whole numbers, still to be clamped and moved. Those of floats too large for an integer become the least
 * of all, which is why is_quick excludes them. */
MQ_ALWAYS_INLINE ints whole_of(ints v, const struct block *c, runtime_form form,
                               const unsigned char *shortcut) {
  if (form == RUNTIME_FIXED) return fixed_point(v, c);
  if (form == RUNTIME_FIXED_ONCE) return fixed_point_once(v, c);
  floats x = real_value(v, c, form, shortcut);
  return floats_round(form == RUNTIME_REAL ? divide_for_rounding(x, c) : x);
}

/* Codes in the order in which saturating instructions leave them: byte 16 l + 4 i + j is of lane 4 l + j of
 * vector i. */
MQ_ALWAYS_INLINE __m512i pack_interleaved(ints v0, ints v1, ints v2, ints v3, const struct pack *c) {
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(v0.v, v1.v), c->zero);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(v2.v, v3.v), c->zero);
  const __m512i codes = _mm512_packus_epi16(low, high);
  return _mm512_min_epu8(_mm512_max_epu8(codes, c->least), c->most);
}

/* Codes of one vector after the other. */
MQ_ALWAYS_INLINE __m512i pack_codes(ints v0, ints v1, ints v2, ints v3, const struct pack *c) {
  return _mm512_permutexvar_epi32(c->order, pack_interleaved(v0, v1, v2, v3, c));
}

/* The first n of 64, 32, 16 bytes. */
MQ_ALWAYS_INLINE __mmask64 first_bytes(int64_t n) {
  return n < 64 ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0);
}
#endif

#endif
