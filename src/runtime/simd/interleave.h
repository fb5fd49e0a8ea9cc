/* Bytes of four taps beside each other, as products want them. */
#ifndef MQ_RUNTIME_SIMD_INTERLEAVE_H
#define MQ_RUNTIME_SIMD_INTERLEAVE_H

#include <immintrin.h>

#include "kernel/simd/values.h"

MQ_ALWAYS_INLINE __m256i load_32(const void *p) {
  return _mm256_loadu_si256((const __m256i *)p);
}

/* The bytes of 4 taps side by side, for 8 channels in each of the 4 vectors: 0..3 and 16..19, and so on. */
MQ_ALWAYS_INLINE void interleave(__m256i to[4], const unsigned char *x, const int64_t *taps) {
  const __m256i x0 = load_32(x + taps[0]), x1 = load_32(x + taps[1]), x2 = load_32(x + taps[2]),
                x3 = load_32(x + taps[3]);
  const __m256i low01 = _mm256_unpacklo_epi8(x0, x1), high01 = _mm256_unpackhi_epi8(x0, x1);
  const __m256i low23 = _mm256_unpacklo_epi8(x2, x3), high23 = _mm256_unpackhi_epi8(x2, x3);
  to[0] = _mm256_unpacklo_epi16(low01, low23);
  to[1] = _mm256_unpackhi_epi16(low01, low23);
  to[2] = _mm256_unpacklo_epi16(high01, high23);
  to[3] = _mm256_unpackhi_epi16(high01, high23);
}

#endif
