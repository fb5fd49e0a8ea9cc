/* 64 whole numbers to 64 codes at AVX-512: moved to the zero point and clamped as bytes, all at once. */
#ifndef MQ_RUNTIME_SIMD_PACK_H
#define MQ_RUNTIME_SIMD_PACK_H

#include "runtime/simd/lanes.h"

#if defined(__AVX512BW__)
/* The same for all codes. */
struct pack {
  __m512i zero, least, most, order;
};

MQ_ALWAYS_INLINE struct pack make_pack(int32_t zero, uint8_t least, uint8_t most) {
  return (struct pack){.zero = _mm512_set1_epi16((short)zero),
                       .least = _mm512_set1_epi8((char)least),
                       .most = _mm512_set1_epi8((char)most),
                       .order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)};
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
#endif

#endif
